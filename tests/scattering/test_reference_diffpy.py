"""diffpy.srreal as an engine: for real where it is installed, and what it is told where it is not."""

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scattering_crystals import BADDELEYITE, NICKEL, RUTILE, TRICLINIC

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.scattering.conditions import PdfConditions, PdfGrid
from hpc_mlsm.scattering.engines import get_engine, native_engine
from hpc_mlsm.structures.structure import Structure

CONDITIONS = PdfConditions.uniform(1, u_iso=0.008, q_min=0.7, q_max=20.0, delta2=2.0, q_damp=0.04).followed_by(
    PdfConditions.uniform(1, u_iso=0.02, q_min=0.5, q_broad=0.01, delta1=0.2, diameter=40.0)
)


@pytest.mark.parametrize("grid", [PdfGrid(), PdfGrid(2.0, 20.0, 0.05)], ids=str)
@pytest.mark.parametrize("structure", [NICKEL, RUTILE, BADDELEYITE, TRICLINIC], ids=lambda s: s.id)
def test_patterns_are_ours(structure: Structure, grid: PdfGrid) -> None:
    try:
        engine = get_engine("diffpy")
    except ConfigError as error:
        pytest.skip(str(error))
    scales = np.array([[1.0, 1.0, 1.0], [1.02, 1.02, 1.02]])
    theirs = engine(structure, scales, CONDITIONS, grid)
    ours = native_engine(structure, scales, CONDITIONS, grid)
    # As for the recorded curves.
    assert np.abs(theirs - ours).max() < 1e-3 * np.abs(ours).max()


class _Calculator:
    """Records what it is told, and answers on the grid that diffpy.srreal uses: all multiples of rstep in range."""

    made: list["_Calculator"] = []  # noqa: RUF012

    def __init__(self) -> None:
        self.envelopes: list[str] = []
        self.told: list[dict[str, Any]] = []
        self.made.append(self)

    def addEnvelope(self, name: str) -> None:  # noqa: N802
        self.envelopes.append(name)

    def __call__(self, atoms: Any) -> tuple[np.ndarray, np.ndarray]:
        content = {"a": atoms.lattice.a, "u": atoms[0].Uisoequiv, "atoms": len(atoms), "element": atoms[0].element}
        self.told.append(dict(vars(self)) | content)
        steps = np.arange(np.ceil(self.rmin / self.rstep - 1e-6), np.floor(self.rmax / self.rstep) + 1)
        return steps * self.rstep, 100.0 * len(self.told) + steps * self.rstep


@pytest.fixture
def calculators(monkeypatch: pytest.MonkeyPatch) -> list[_Calculator]:
    """A stand-in for diffpy.srreal."""
    pytest.importorskip("diffpy.structure")
    module = ModuleType("diffpy.srreal.pdfcalculator")
    module.PDFCalculator = _Calculator  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "diffpy.srreal", ModuleType("diffpy.srreal"))
    monkeypatch.setitem(sys.modules, "diffpy.srreal.pdfcalculator", module)
    monkeypatch.setattr(_Calculator, "made", [])
    return _Calculator.made


@pytest.mark.parametrize("grid", [PdfGrid(), PdfGrid(2.0, 20.0, 0.05), PdfGrid(0.3, 0.9, 0.3)], ids=str)
def test_the_calculator_is_told_every_parameter_and_its_points_are_found(
    calculators: list[_Calculator], grid: PdfGrid
) -> None:
    scales = np.array([[1.0, 1.0, 1.0], [1.02, 1.02, 1.02]])
    g = get_engine("diffpy")(NICKEL, scales, CONDITIONS, grid)
    (calculator,) = calculators
    assert calculator.envelopes == ["sphericalshape"]
    assert calculator.scatteringfactortable == "electronnumber"
    names = {
        "qmin": CONDITIONS.q_min,
        "qmax": CONDITIONS.q_max,
        "qdamp": CONDITIONS.q_damp,
        "qbroad": CONDITIONS.q_broad,
        "delta1": CONDITIONS.delta1,
        "delta2": CONDITIONS.delta2,
        "spdiameter": CONDITIONS.diameter,
        "u": CONDITIONS.u_iso,
        "a": NICKEL.cell.a * scales[:, 0],
    }
    for name, values in names.items():
        assert [told[name] for told in calculator.told] == pytest.approx(values.tolist()), name
    assert {(told["atoms"], told["element"]) for told in calculator.told} == {(4, "Ni")}
    np.testing.assert_allclose(g, [100.0 + grid.r, 200.0 + grid.r], atol=1e-9)


def test_a_grid_between_the_multiples_of_its_step_is_refused(calculators: list[_Calculator]) -> None:
    with pytest.raises(ConfigError, match="multiple of r_step"):
        get_engine("diffpy")(NICKEL, np.ones((2, 3)), CONDITIONS, PdfGrid(1.05, 20.0, 0.1))


def test_a_missing_package_is_an_error_that_names_the_environment_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffpy.srreal", None)
    with pytest.raises(ConfigError, match=r"environment\.yml"):
        get_engine("diffpy")
