"""Derivatives of PDFs in closed form, against differences of curves, and the curve against the engine's."""

import numpy as np
import pytest
from scattering_crystals import BADDELEYITE, NICKEL, RUTILE, TRICLINIC, WURTZITE

from hpc_mlsm.scattering.conditions import PdfConditions, PdfGrid
from hpc_mlsm.scattering.gradients import Motion, PdfGradient, pdf_with_gradient
from hpc_mlsm.scattering.pairs import PairList, pair_lists
from hpc_mlsm.scattering.pdf import simulate_pdf
from hpc_mlsm.structures.structure import Structure

GRID = PdfGrid(1.0, 16.0, np.pi / 25)
BAND = (0.5, 25.0)
MOTIONS = {
    "plain": Motion(np.array([0.016])),
    "delta1": Motion(np.array([0.016]), 0.8, 1),
    "delta2": Motion(np.array([0.012]), 1.5, 2),
    "q_broad": Motion(np.array([0.016]), 1.5, 2, 0.02),
}
CRYSTALS = [NICKEL, RUTILE, WURTZITE, BADDELEYITE, TRICLINIC]


def pairs_of(structure: Structure) -> tuple[PairList, ...]:
    return tuple(pair_lists(structure, 20.0))


def at(pairs: tuple[PairList, ...], steps: np.ndarray, motion: Motion, derivatives: bool = True) -> PdfGradient:
    return pdf_with_gradient(pairs, steps, motion, GRID, BAND, derivatives=derivatives)


@pytest.mark.parametrize("name", MOTIONS)
@pytest.mark.parametrize("structure", CRYSTALS, ids=lambda one: one.id)
def test_the_curve_is_that_of_the_engine(structure: Structure, name: str) -> None:
    motion = MOTIONS[name]
    pairs = pairs_of(structure)
    delta = {"delta1" if motion.power == 1 else "delta2": motion.delta}
    asked = PdfConditions.uniform(
        1, u_iso=motion.u_sums[0] / 2, q_min=BAND[0], q_max=BAND[1], q_broad=motion.q_broad, **delta
    )
    expected = simulate_pdf(pairs, np.ones((1, 3)), asked, GRID)[0]
    zero = np.zeros(len(pairs[0].basis))
    for derivatives in (True, False):
        found = at(pairs, zero, motion, derivatives).g
        # Both spread pairs over bins of a sixth of a width or less, which is right to 5e-5 of a peak.
        assert np.abs(found - expected).max() < 2e-4 * np.abs(expected).max()


@pytest.mark.parametrize("name", MOTIONS)
@pytest.mark.parametrize("structure", CRYSTALS, ids=lambda one: one.id)
def test_derivatives_are_differences_of_curves(structure: Structure, name: str) -> None:
    motion = MOTIONS[name]
    pairs = pairs_of(structure)
    n_free = len(pairs[0].basis)
    # Not at the given cell, where something might cancel.
    steps = 0.01 * np.linspace(-1, 1, n_free)
    found = at(pairs, steps, motion)

    def difference(h: float, other: Motion | None = None, k: int | None = None) -> np.ndarray:
        ends = []
        for sign in (1, -1):
            moved = steps + (0.0 if k is None else sign * h * np.eye(n_free)[k])
            varied = motion
            if other is not None:
                change = {"u_sums": motion.u_sums + sign * (other.u_sums - motion.u_sums)}
                change["delta"] = motion.delta + sign * (other.delta - motion.delta)  # type: ignore[assignment]
                varied = Motion(**(vars(motion) | change))
            ends.append(at(pairs, moved, varied, derivatives=False).g)
        return (ends[0] - ends[1]) / (2 * h)

    for k in range(n_free):
        expected = difference(2e-3, k=k)
        # Curves are right to 2e-5 of a peak, and this is 2e-5 over a step that moves a peak by 1e-3 of its width.
        assert np.abs(found.by_metric[k] - expected).max() < 4e-3 * np.abs(expected).max()
    h = 2e-4
    expected = difference(h, Motion(motion.u_sums + h, motion.delta))
    assert np.abs(found.by_u_sum[0] - expected).max() < 2e-3 * np.abs(expected).max()
    if motion.delta:
        h = 2e-2
        expected = difference(h, Motion(motion.u_sums, motion.delta + h))
        assert np.abs(found.by_delta - expected).max() < 5e-3 * np.abs(expected).max()
