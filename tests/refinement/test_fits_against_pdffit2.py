"""The optimum is that of another program, diffpy.pdffit2, given the same data or its own curve with the same noise."""

from pathlib import Path

import numpy as np
import pytest

from hpc_mlsm.archive.readers import read_pattern
from hpc_mlsm.archive.resample import to_grid
from hpc_mlsm.refinement.cell import NAMES
from hpc_mlsm.refinement.reference_pdffit2 import refine_with_pdffit2
from hpc_mlsm.refinement.refine import FitData, fit_grid, refine
from hpc_mlsm.refinement.settings import RefineSettings
from hpc_mlsm.scattering.conditions import PdfConditions
from hpc_mlsm.scattering.engines import get_engine, native_engine
from hpc_mlsm.structures.starter import starter_set
from hpc_mlsm.structures.structure import Structure
from hpc_mlsm.structures.symmetry import axis_classes

pytest.importorskip("diffpy.pdffit2")

STARTER = {one.id.removeprefix("starter/"): one for one in starter_set()}
START = {"q_damp": 0.02}
PARITY = RefineSettings(r_step=0.1, correlated_motion="none")


@pytest.mark.parametrize("name", ["Ni-fcc", "Mg-hcp", "TiO2-rutile", "BeO-wurtzite", "CaCO3-calcite"])
def test_the_optimum_is_that_of_pdffit2(name: str) -> None:
    structure = STARTER[name]
    grid = fit_grid(0.0, 60.0, 25.0, PARITY)
    factors = (1 + 0.004 * np.array([1.0, -0.7, 0.4]))[np.array(axis_classes(structure.operations))]
    asked = PdfConditions.uniform(1, u_iso=0.008, q_damp=0.03, q_max=25.0)
    values = native_engine(structure, factors[None], asked, grid)[0]
    values += 0.05 * values.std() * np.random.default_rng(0).normal(size=len(values))
    data = FitData(grid, values, 0.0, 25.0)
    start = dict(zip(NAMES, structure.cell.parameters, strict=True)) | {"scale": 1.0, "u_iso": 0.006, "q_damp": 0.02}
    ours, theirs = refine([structure], data, PARITY, start), refine_with_pdffit2([structure], data, PARITY, start)
    # Dividing by r in place of r_ij moves its peaks by σ²/r, which is 1e-4 of r at 12 Å.
    for axis in "abc":
        assert ours[axis].value == pytest.approx(theirs.values[axis], rel=1.2e-4)
    assert ours["u_iso"].value == pytest.approx(theirs.values["u_iso"], rel=0.05)
    # Its curves differ from ours by 2 % of a peak near the first ones, which adds to noise of 5 % in squares.
    assert ours.r_w == pytest.approx(theirs.r_w, abs=0.006)


def own_curves(
    structures: list[Structure], factors: list[float], shares: list[float]
) -> tuple[FitData, FitData, dict[str, float]]:
    """A mixture as the native engine and as pdffit2 compute it, with the same noise, and where to start."""
    grid = fit_grid(0.0, 60.0, 25.0, PARITY)
    asked = PdfConditions.uniform(1, u_iso=0.008, q_damp=0.03, q_max=25.0)
    made = []
    for engine in (native_engine, get_engine("pdffit2")):
        scales = [np.full((1, 3), factor) for factor in factors]
        curves = [engine(one, scale, asked, grid)[0] for one, scale in zip(structures, scales, strict=True)]
        made.append(np.array(shares) @ np.array(curves))
    noise = 0.05 * made[0].std() * np.random.default_rng(0).normal(size=len(grid))
    start = dict(START)
    for number, one in enumerate(structures, start=1):
        key = f":{number}" if len(structures) > 1 else ""
        start |= {f"{name}{key}": value for name, value in zip(NAMES, one.cell.parameters, strict=True)}
        start |= {f"scale{key}": 1 / len(structures), f"u_iso{key}": 0.006}
    ours, theirs = (FitData(grid, curve + noise, 0.0, 25.0) for curve in made)
    return ours, theirs, start


@pytest.mark.parametrize(
    ("names", "factors", "shares"),
    [
        (["Ni-fcc"], [1.004], [1.0]),
        (["CaCO3-calcite"], [0.997], [1.0]),
        (["Sb2Te3-tetradymite"], [1.003], [1.0]),
        (["Ni-fcc", "NiO-rocksalt"], [1.003, 0.998], [0.7, 0.3]),
        (["TiO2-rutile", "TiO2-anatase"], [1.002, 0.997], [0.2, 0.8]),
    ],
    ids=str,
)
def test_each_finds_its_own_curve_with_the_same_noise_at_the_same_place(
    names: list[str], factors: list[float], shares: list[float]
) -> None:
    structures = [STARTER[name] for name in names]
    data, for_pdffit2, start = own_curves(structures, factors, shares)
    ours = refine(structures, data, PARITY, start)
    theirs = refine_with_pdffit2(structures, for_pdffit2, PARITY, start)
    for key, value in ours.values.items():
        if key[0] in "abc":
            assert value == pytest.approx(theirs.values[key], abs=2e-4), key
        elif key.startswith(("scale", "u_iso")):
            assert value == pytest.approx(theirs.values[key], rel=0.005), key
    assert ours.r_w == pytest.approx(theirs.r_w, abs=0.002)
    keys = ["scale"] if len(shares) == 1 else ["scale:1", "scale:2"]
    for key, share in zip(keys, shares, strict=True):
        assert abs(ours[key].value - share) < 3 * ours[key].uncertainty < 0.05, key


@pytest.mark.reference
def test_measured_nickel_is_refined_as_pdffit2_refines_it(shared_data: Path) -> None:
    settings = RefineSettings(r_step=0.1)
    grid = fit_grid(0.0, 60.0, 25.0, settings)
    measured = to_grid(read_pattern(shared_data / "experimental" / "pdf" / "Ni.gr"), grid.r).values
    data = FitData(grid, measured, 0.0, 25.0)
    start = {"a": 3.5, "b": 3.5, "c": 3.5, "scale": 1.0, "u_iso": 0.005, "delta2": 1.0, "q_damp": 0.03}
    ours = refine([STARTER["Ni-fcc"]], data, settings, start)
    theirs = refine_with_pdffit2([STARTER["Ni-fcc"]], data, settings, start)
    assert ours["a"].value == pytest.approx(theirs.values["a"], abs=1e-3)
    assert ours["u_iso"].value == pytest.approx(theirs.values["u_iso"], rel=0.05)
    assert ours.r_w == pytest.approx(theirs.r_w, abs=0.002)
