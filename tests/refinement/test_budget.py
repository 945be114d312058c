"""What a budget buys: never more than its limit, and as much as fits in it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_mlsm.errors import PlanError
from hpc_mlsm.refinement.budget import BudgetSettings, plan_budget


def test_without_a_limit_every_frame_is_fitted_and_looked_at_again_where_needed() -> None:
    plan = plan_budget(1000, 4, BudgetSettings(chain=50), 0.01)
    assert (plan.components, plan.representatives, plan.neighbours) == (12, 60, 980)
    assert (plan.fitted, plan.stride, plan.refits, plan.most) == (1000, 1, None, None)
    assert plan.core_hours == pytest.approx(1052 * 0.01 / 3600)


@settings(deadline=None)
@given(
    n=st.integers(1, 5000),
    components=st.integers(0, 8),
    fits=st.integers(1, 20_000),
    chain=st.integers(1, 300),
    candidates=st.integers(1, 6),
    mixtures=st.booleans(),
)
def test_a_limit_is_never_exceeded(
    n: int, components: int, fits: int, chain: int, candidates: int, mixtures: bool
) -> None:
    rules = BudgetSettings(fits=fits, chain=chain, candidates=candidates, mixtures=mixtures)
    try:
        plan = plan_budget(n, components, rules, 0.01)
    except PlanError:
        assert fits < (components + 1) * rules.full + 1 + (n > 1)
        return
    assert plan.most is not None
    assert plan.most <= fits
    assert 1 <= plan.fitted <= n


def test_core_hours_are_a_limit_by_the_projected_time_of_a_fit() -> None:
    by_time = plan_budget(1000, 0, BudgetSettings(core_hours=1.0), 6.0)
    assert by_time == plan_budget(1000, 0, BudgetSettings(fits=600), 6.0)
    assert by_time.fitted < 1000


def test_more_budget_never_fits_fewer_frames() -> None:
    fitted = [plan_budget(2000, 3, BudgetSettings(fits=fits), 0.01).fitted for fits in range(50, 4000, 50)]
    assert fitted == sorted(fitted)
    assert fitted[-1] == 2000
