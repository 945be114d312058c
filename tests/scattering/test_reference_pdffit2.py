"""diffpy.pdffit2 as an engine, and how far its conventions are from ours."""

import sys
from typing import Any

import numpy as np
import pytest
from pdf_brute_force import pair_distances
from scattering_crystals import BADDELEYITE, NICKEL, RUTILE, TRICLINIC, WURTZITE, crystal, stretched

from hpc_mlsm.errors import ConfigError, StructureError
from hpc_mlsm.scattering.conditions import PdfConditions, PdfGrid
from hpc_mlsm.scattering.engines import get_engine, native_engine, simulate_structure
from hpc_mlsm.scattering.settings import PdfSettings
from hpc_mlsm.structures.structure import Structure


@pytest.fixture
def pdffit2() -> Any:
    try:
        return get_engine("pdffit2")
    except ConfigError as error:
        pytest.skip(str(error))


CONDITIONS = {
    "plain": {"u_iso": 0.01},
    "all": {"u_iso": 0.008, "q_max": 20.0, "q_damp": 0.03, "q_broad": 0.01, "delta2": 1.5, "diameter": 50.0},
}


@pytest.mark.parametrize("name", CONDITIONS)
@pytest.mark.parametrize("structure", [NICKEL, RUTILE, WURTZITE, BADDELEYITE, TRICLINIC], ids=lambda s: s.id)
@pytest.mark.parametrize("grid", [PdfGrid(), PdfGrid(1.05, 25.0, 0.1), PdfGrid(10.0, 30.0, 0.02)], ids=str)
def test_patterns_differ_by_the_conventions_only(pdffit2: Any, structure: Structure, name: str, grid: PdfGrid) -> None:
    conditions = PdfConditions.uniform(1, **CONDITIONS[name])
    theirs = pdffit2(structure, np.ones((1, 3)), conditions, grid)[0]
    ours = native_engine(structure, np.ones((1, 3)), conditions, grid)[0]
    assert theirs.shape == ours.shape
    # Dividing by r instead of r_ij multiplies a peak by r_ij / r, which changes it by up to exp(-1/2) σ/r_ij of its
    # height at one σ. The rest, the band limit of one-sided G and cuts at 5 σ, is of the order of 0.02 of a peak, as
    # the authors of diffpy.srreal found (0.057 for rutile in their own tests).
    nearest = pair_distances(structure, np.ones(3), 6.0)[0].min()
    sigma = np.sqrt(2 * conditions.u_iso[0])
    allowed = np.exp(-0.5) * sigma / np.maximum(grid.r, nearest) + 0.02
    assert np.all(np.abs(theirs - ours) < allowed * np.abs(ours).max())
    assert np.corrcoef(theirs, ours)[0, 1] > 0.999


def test_an_isotropic_displacement_is_isotropic_in_oblique_axes(pdffit2: Any) -> None:
    # Had the off-diagonal terms of U been left out, peaks within the hexagonal plane would be wider by a third.
    fine = PdfGrid(3.0, 4.6, 0.01)
    sharp = PdfConditions.uniform(1, u_iso=0.003, q_max=60.0)
    theirs = pdffit2(WURTZITE, np.ones((1, 3)), sharp, fine)[0]
    ours = native_engine(WURTZITE, np.ones((1, 3)), sharp, fine)[0]
    assert np.abs(theirs - ours).max() < 0.03 * ours.max()


def test_variants_are_strained_and_have_their_own_conditions(pdffit2: Any) -> None:
    scales = np.array([[1.0, 1.0, 1.0], [1.03, 1.03, 0.98]])
    conditions = PdfConditions.uniform(1, u_iso=0.01).followed_by(PdfConditions.uniform(1, u_iso=0.02, q_max=18.0))
    both = pdffit2(RUTILE, scales, conditions, PdfGrid())
    (alone,) = pdffit2(stretched(RUTILE, *scales[1]), np.ones((1, 3)), conditions.take(slice(1, 2)), PdfGrid())
    np.testing.assert_allclose(both[1], alone, atol=1e-7 * np.abs(alone).max())
    assert np.abs(both[0] - both[1]).max() > 0.1 * np.abs(alone).max()


def test_a_whole_structure_can_be_simulated_and_nothing_is_printed(
    pdffit2: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    simulated = simulate_structure(RUTILE, PdfSettings(engine="pdffit2", q_min=(0.0, 0.0), variants=2))
    assert simulated.patterns.shape == (2, 301)
    assert np.isfinite(simulated.patterns).all()
    assert capfd.readouterr() == ("", "")


def test_a_q_min_is_refused_and_not_ignored(pdffit2: Any) -> None:
    with pytest.raises(ConfigError, match="q_min"):
        pdffit2(RUTILE, np.ones((1, 3)), PdfConditions.uniform(1, q_min=0.5), PdfGrid())


def test_an_element_that_it_does_not_know_is_refused_for_that_structure(pdffit2: Any) -> None:
    heavy = crystal("heavy", "P 1", (4.0, 4.0, 4.0, 90.0, 90.0, 90.0), ("Og", 0, 0, 0))
    with pytest.raises(StructureError, match="heavy") as caught:
        pdffit2(heavy, np.ones((1, 3)), PdfConditions.uniform(1), PdfGrid())
    assert caught.value.reason == "unknown_element"


def test_a_missing_package_is_an_error_that_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffpy.pdffit2", None)
    with pytest.raises(ConfigError, match="pip install --only-binary"):
        get_engine("pdffit2")
