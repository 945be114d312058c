"""Where products are computed: chosen in one place; a GPU is stood in for by NumPy."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.grouping.correlate import edges_of_panels, panel_of
from hpc_mlsm.grouping.products import CpuProducts, CupyProducts, make_products


def stand_in(devices: int = 1) -> ModuleType:
    """A module that answers as CuPy does, with NumPy's functions."""
    cupy = ModuleType("cupy")
    loaded: list[tuple[int, ...]] = []

    def to_device(values: np.ndarray) -> np.ndarray:
        loaded.append(values.shape)
        return values

    runtime = SimpleNamespace(getDeviceCount=lambda: devices, CUDARuntimeError=RuntimeError)
    vars(cupy).update(
        asarray=to_device, asnumpy=np.asarray, flatnonzero=np.flatnonzero, cuda=SimpleNamespace(runtime=runtime)
    )
    vars(cupy)["loaded"] = loaded
    return cupy


def test_a_gpu_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CUPY_TF32", raising=False)
    monkeypatch.setitem(sys.modules, "cupy", stand_in())
    assert isinstance(make_products("auto"), CupyProducts)
    assert isinstance(make_products("cuda"), CupyProducts)
    assert isinstance(make_products("cpu"), CpuProducts)


def test_without_a_gpu_the_processor_is_taken_unless_the_gpu_was_asked_for(monkeypatch: pytest.MonkeyPatch):
    for module, why in ((None, "CuPy is not installed"), (stand_in(0), "CuPy finds no GPU")):
        monkeypatch.setitem(sys.modules, "cupy", module)
        assert isinstance(make_products("auto"), CpuProducts)
        with pytest.raises(ConfigError, match=f"group.device is cuda, but {why}"):
            make_products("cuda")


def test_products_of_few_bits_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "cupy", stand_in())
    monkeypatch.setenv("CUPY_TF32", "1")
    with pytest.raises(ConfigError, match="CUPY_TF32 is set"):
        make_products("auto")


def test_both_find_the_same_edges_and_vectors_are_loaded_once(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    patterns = (rng.normal(size=(5, 60))[rng.integers(0, 5, 120)] + 0.3 * rng.normal(size=(120, 60))).astype(np.float32)
    panel, cupy = panel_of(patterns), stand_in()
    monkeypatch.setattr(CupyProducts, "tile_rows", 50)
    ours = edges_of_panels(panel, panel, 0.9, 0, 0)
    theirs = edges_of_panels(panel, panel, 0.9, 0, 0, products=CupyProducts(cupy))
    assert len(ours) > 0
    for name in ("i", "j", "correlation"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    assert cupy.loaded == [(120, 60)]
