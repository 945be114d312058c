"""Chains of frames: which fits are made, from where, and what becomes of frames that cannot be fitted."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from refinement_samples import FIT, GRID, Q_RANGE, STARTER, curve

from hpc_mlsm.refinement.chain import Chain, FrameFit, Phases, refine_chain
from hpc_mlsm.refinement.refine import FitData, Refiner

NICKEL, IRON = ("starter/Ni-fcc",), ("starter/Fe-bcc",)
RULES = Chain(candidates=3, worsen=1.5, mixtures=False)


@cache
def refiner(phases: Phases) -> Refiner:
    return Refiner([STARTER[key.removeprefix("starter/")] for key in phases], GRID, Q_RANGE, FIT)


def walked(curves: Sequence[np.ndarray], rules: Chain = RULES) -> list[FrameFit]:
    rng = np.random.default_rng(0)
    data = [FitData(GRID, one + 0.02 * one.std() * rng.normal(size=len(one)), *Q_RANGE) for one in curves]
    return refine_chain(data, [[NICKEL, IRON]] * len(data), refiner, rules, {})


def nickel(n: int) -> list[np.ndarray]:
    return [curve(STARTER["Ni-fcc"], 1 + 0.0005 * k) for k in range(n)]


def test_only_the_typical_frame_is_fitted_with_all_candidates() -> None:
    found = walked(nickel(7))
    assert sorted(one.fits for one in found) == [1, 1, 1, 1, 1, 1, 2]
    assert [one.kind for one in found].count("representative") == 1
    assert {one.fit.structure_ids for one in found if one.fit} == {NICKEL}


def test_no_second_look_is_left_where_the_budget_ends() -> None:
    curves = [*nickel(6), *[curve(STARTER["Fe-bcc"])] * 3]
    found = walked(curves, Chain(3, 1.5, False, refits=0))
    assert [one.doubtful for one in found] == [False] * 6 + [True] * 3
    assert sum(one.fits for one in found) == len(curves) + 1
    assert [one.fit.structure_ids for one in walked(curves) if one.fit][6:] == [IRON] * 3


def test_every_third_frame_is_fitted_where_the_budget_asks_for_it() -> None:
    kinds = [one.kind for one in walked(nickel(9), Chain(3, 1.5, False, stride=3))]
    assert kinds.count("skipped") == 6


def test_a_mixture_is_found_where_it_is_looked_for() -> None:
    both = [0.6 * curve(STARTER["Ni-fcc"]) + 0.8 * curve(STARTER["Fe-bcc"]) for _ in range(3)]
    found = walked(both, Chain(3, 1.5, True))
    assert all(set(one.fit.structure_ids) == {NICKEL[0], IRON[0]} for one in found if one.fit)
    alone = walked(both)
    assert all(one.fit.r_w > 5 * two.fit.r_w for one, two in zip(alone, found, strict=True) if one.fit and two.fit)


def test_a_frame_that_cannot_be_fitted_stops_no_other() -> None:
    curves = nickel(5)
    curves[2] = np.full(len(GRID), np.nan)
    found = walked(curves)
    assert [one.kind == "refused" for one in found] == [False, False, True, False, False]
    assert "not finite" in found[2].detail
    everything = walked([np.zeros(len(GRID))] * 3)
    assert [one.reason for one in everything] == ["constant"] * 3
