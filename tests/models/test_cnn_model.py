"""A trained network as it is kept."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from peaks import CLASSES, POINTS, VALIDATION, small

from hpc_mlsm.errors import BundleError
from hpc_mlsm.models.cnn_model import OWN, WEIGHTS, CnnModel
from hpc_mlsm.models.cnn_networks import build_network

keras = pytest.importorskip("keras", reason="tensorflow is not installed (extra cnn)")

SETTINGS = small(heads=("space_group",), seed=5, dropout=0.3)


@pytest.fixture(scope="module")
def weights() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = [weight.shape for weight in build_network(SETTINGS, POINTS, CLASSES).get_weights()]
    # Variances are among them, which are above zero.
    return [rng.uniform(0.05, 0.1, shape).astype(np.float32) for shape in shapes]


@pytest.fixture(scope="module")
def model(weights: list[np.ndarray]) -> CnnModel:
    return CnnModel.of(SETTINGS, POINTS, CLASSES, weights)


def test_it_comes_back_as_it_was_saved(model: CnnModel, weights: list[np.ndarray]) -> None:
    loaded = CnnModel.read(model.image)
    assert loaded == model
    assert all(np.array_equal(a, b) for a, b in zip(loaded.network.get_weights(), weights, strict=True))
    again = pickle.loads(pickle.dumps(loaded))
    assert "network" not in again.__dict__
    assert np.array_equal(again.margins(VALIDATION.patterns[:5]), model.margins(VALIDATION.patterns[:5]))


def test_scores_do_not_depend_on_the_scale_of_a_pattern_nor_on_its_neighbours(model: CnnModel) -> None:
    patterns = VALIDATION.patterns[:300] ** 2
    scores = model.margins(patterns)
    assert scores.shape == (len(patterns), CLASSES)
    assert np.allclose(model.margins(1234.5 * patterns), scores, atol=1e-4)
    assert np.allclose(model.margins(patterns[7:8]), scores[7:8], atol=1e-4)
    assert model.margins(patterns[:0]).shape == (0, CLASSES)
    assert model.outputs(patterns[:2])["space_group"].shape == (2, 230)


def test_patterns_of_another_length_are_refused(model: CnnModel) -> None:
    for shape in ((3, POINTS + 1), (POINTS,)):
        with pytest.raises(BundleError, match=rf"do not fit the network, which takes {POINTS} points"):
            model.margins(np.zeros(shape))


def test_keras_itself_opens_it_without_code_of_its_own(model: CnnModel, tmp_path: Path) -> None:
    path = tmp_path / "network.keras"
    path.write_bytes(model.image)
    opened = keras.models.load_model(path, safe_mode=True)
    scaled = np.sqrt(VALIDATION.patterns[:4] ** 2)
    assert np.allclose(opened(scaled)["class"], model.margins(scaled**2), atol=1e-4)
    assert {type(layer).__module__.split(".")[0] for layer in opened.layers} == {"keras"}


def test_there_is_no_pickle_in_it(model: CnnModel) -> None:
    with zipfile.ZipFile(io.BytesIO(model.image)) as file:
        assert set(file.namelist()) == {"metadata.json", "config.json", WEIGHTS, OWN}
        assert file.read(WEIGHTS)[1:4] == b"HDF"


def rewritten(image: bytes, name: str, change: Callable[[bytes], bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(image)) as old, zipfile.ZipFile(out, "w") as new:
        for member in old.namelist():
            content = old.read(member)
            new.writestr(member, change(content) if member == name else content)
    return out.getvalue()


def test_what_the_file_says_of_its_layers_is_never_looked_at(model: CnnModel) -> None:
    hostile = json.dumps({"module": "os", "class_name": "system", "config": {"command": "true"}}).encode()
    loaded = CnnModel.read(rewritten(model.image, "config.json", lambda _: hostile))
    assert np.array_equal(loaded.margins(VALIDATION.patterns[:2]), model.margins(VALIDATION.patterns[:2]))


@pytest.mark.parametrize(
    "damage",
    [
        lambda image: b"",
        lambda image: image[:-30],
        lambda image: rewritten(image, OWN, lambda _: b"{}"),
        lambda image: rewritten(image, OWN, lambda content: content.replace(b'"batch"', b'"later"')),
        lambda image: rewritten(image, WEIGHTS, lambda content: content[:500]),
        lambda image: rewritten(image, OWN, lambda content: content.replace(b'"widths": [8,', b'"widths": [12,')),
    ],
    ids=["empty", "cut", "nothing said", "another version", "weights cut", "another network"],
)
def test_a_damaged_one_is_refused(model: CnnModel, damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(BundleError, match="train again"):
        _ = CnnModel.read(damage(model.image)).network
