"""Tasks hold every structure once, are about equal in cost, keep their bounds, and have stable names."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_mlsm.plan import tasks as tasks_module
from hpc_mlsm.plan.cost import StructureCost
from hpc_mlsm.plan.tasks import (
    MANY_TASKS,
    MAX_ROWS,
    SHORTEST_S,
    TASK_SECONDS,
    SimulateTask,
    number_of_tasks,
    plan_simulation,
)
from hpc_mlsm.scattering.settings import PdfSettings


def costs_of(seconds: list[float], variants: int = 100) -> list[StructureCost]:
    return [StructureCost(f"s{k:06d}", one, variants + 1, 1e5) for k, one in enumerate(seconds)]


def plan(
    costs: list[StructureCost], *, variants: int = 100, name: str = "hash", **kept: set[str]
) -> list[SimulateTask]:
    settings = PdfSettings(variants=variants)
    return plan_simulation(costs, settings, name, catalogue=Path("/c.sqlite"), store=Path("/store"), **kept)


def skewed(n: int, seed: int = 0) -> list[float]:
    """Costs as those of real structures: spread over three orders of magnitude."""
    return np.random.default_rng(seed).lognormal(mean=-4.0, sigma=1.5, size=n).tolist()


def test_every_structure_is_in_exactly_one_task_with_its_cost() -> None:
    costs = costs_of(skewed(5000))
    planned = plan(costs)
    pairs = [pair for task in planned for pair in zip(task.structure_ids, task.costs, strict=True)]
    assert sorted(pairs) == [(cost.structure_id, cost.seconds) for cost in costs]


def test_tasks_are_of_about_equal_cost_and_the_largest_come_first() -> None:
    planned = plan(costs_of(skewed(5000)))
    costs = np.array([task.cost for task in planned])
    assert (np.diff(costs) <= 0).all()
    found = np.array([task.cost for task in planned if len(task.structure_ids) > 1])
    assert len(found) > MANY_TASKS / 2
    # Dealing out largest first leaves no task above the mean by more than one structure of the last that were dealt.
    assert found.max() < 1.05 * found.mean()
    assert len(planned) == MANY_TASKS


def test_a_structure_that_costs_more_than_a_task_has_one_of_its_own() -> None:
    planned = plan(costs_of([500.0, *skewed(300)]))
    assert planned[0].structure_ids == ("s000000",)
    assert planned[0].cost == 500.0


def test_much_work_becomes_tasks_of_the_length_aimed_at_and_little_work_many_short_ones() -> None:
    assert len(plan(costs_of([1.0] * 10_000))) == 10_000 / TASK_SECONDS
    assert len(plan(costs_of([0.1] * 1000))) == MANY_TASKS
    assert len(plan(costs_of([0.001] * 1000))) == pytest.approx(1 / SHORTEST_S, abs=1)
    assert len(plan(costs_of([1.0] * 7))) == 7


def test_what_an_interrupted_run_left_is_the_tasks_that_it_did_not_finish() -> None:
    costs = costs_of(skewed(2000))
    planned = plan(costs)
    left = planned[1::2]
    missing = {key for task in left for key in task.structure_ids}
    assert plan(costs, missing=missing) == left
    assert plan(costs, missing=set()) == []


def test_tasks_without_what_was_set_aside_are_otherwise_the_same() -> None:
    costs = costs_of(skewed(2000))
    planned = plan(costs)
    poison = planned[-1].structure_ids[1]
    again = plan(costs, missing={cost.structure_id for cost in costs} - {poison}, aside={poison})
    assert len(again) == len(planned)
    changed = [task for task in again if task not in planned]
    assert [set(task.structure_ids) for task in changed] == [set(planned[-1].structure_ids) - {poison}]


def test_a_few_new_structures_share_a_task_instead_of_having_one_each() -> None:
    costs = costs_of(skewed(2000))
    new = {f"s{k:06d}" for k in range(0, 2000, 400)}
    planned = plan(costs, missing=new)
    assert {key for task in planned for key in task.structure_ids} == new
    assert len(planned) < len(new)
    assert len(planned) == number_of_tasks(sum(task.cost for task in planned), 5 * 101, 5)


def test_a_shard_does_not_grow_beyond_its_bound() -> None:
    planned = plan(costs_of([1e-6] * 3000))
    assert max(task.units for task in planned) <= MAX_ROWS
    assert sum(task.units for task in planned) == 3000 * 101
    # One structure alone may need more.
    assert [task.units for task in plan(costs_of([1.0], 80_000), variants=80_000)] == [80_001]


def test_room_is_made_where_all_tasks_are_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks_module, "MAX_ROWS", 303)
    planned = plan(costs_of([1e-6] * 10))
    assert all(task.units <= 303 for task in planned)
    assert sorted(key for task in planned for key in task.structure_ids) == [f"s{k:06d}" for k in range(10)]


def test_nothing_to_do_is_no_task() -> None:
    assert plan([]) == []


def test_names_follow_from_content_alone() -> None:
    costs = costs_of(skewed(500))
    names = [task.id for task in plan(costs)]
    assert len(set(names)) == len(names)
    assert [task.id for task in plan(costs[::-1])] == names
    assert set(names).isdisjoint(task.id for task in plan(costs, name="other parameters"))
    assert names[0].startswith("simulate-")


def test_a_task_splits_in_two_until_one_structure_is_left() -> None:
    whole = plan(costs_of([1e-5 * one for one in skewed(23)]))[0]
    assert len(whole.structure_ids) == 23
    seen: list[SimulateTask] = []
    open_tasks = [whole]
    while open_tasks:
        task = open_tasks.pop()
        halves = task.split()
        if not halves:
            seen.append(task)
            continue
        first, second = halves
        assert first.structure_ids + second.structure_ids == task.structure_ids
        assert abs(len(first.structure_ids) - len(second.structure_ids)) <= 1
        assert first.cost + second.cost == pytest.approx(task.cost)
        assert len({task.id, first.id, second.id}) == 3
        assert (first.settings, first.store, first.config_hash) == (task.settings, task.store, task.config_hash)
        open_tasks += halves
    assert sorted(task.structure_ids for task in seen) == [(key,) for key in sorted(whole.structure_ids)]


def test_a_task_travels_as_a_few_bytes_a_structure() -> None:
    task = plan(costs_of(skewed(1000)))[0]
    assert pickle.loads(pickle.dumps(task)) == task
    assert len(pickle.dumps(task)) < 2000 + 40 * len(task.structure_ids)


def test_all_of_cod_is_planned_in_seconds_and_is_a_few_thousand_tasks() -> None:
    # 530 000 structures of 100 variants in the mean 35 ms each; a hundred thousand of them are enough here.
    planned = plan(costs_of(skewed(100_000)))
    assert sum(len(task.structure_ids) for task in planned) == 100_000
    assert 400 <= len(planned) <= 1000


@given(
    st.lists(st.floats(0, 100, allow_nan=False), max_size=60),
    st.integers(1, 60_000),
    st.data(),
)
def test_any_inventory_is_covered_once(seconds: list[float], variants: int, data: st.DataObject) -> None:
    costs = costs_of(seconds, variants)
    planned = plan(costs, variants=variants)
    assert sorted(key for task in planned for key in task.structure_ids) == [cost.structure_id for cost in costs]
    assert all(task.units <= MAX_ROWS or len(task.structure_ids) == 1 for task in planned)
    assert all(task.structure_ids for task in planned)
    missing = data.draw(st.sets(st.sampled_from([cost.structure_id for cost in costs]))) if costs else set()
    again = plan(costs, variants=variants, missing=missing)
    assert sorted(key for task in again for key in task.structure_ids) == sorted(missing)
