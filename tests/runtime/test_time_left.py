"""No task is started that would not finish before the Slurm job ends."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

import pytest

from hpc_mlsm.runtime import slurm_jobs, task_run, time_left
from hpc_mlsm.runtime.factory import make_executor
from hpc_mlsm.runtime.settings import ExecutorSettings
from hpc_mlsm.runtime.signals import Interrupted
from hpc_mlsm.runtime.time_left import LOOK_AHEAD, MARGIN_S, SAFETY, FittingTasks, Forecast


@dataclass(frozen=True)
class Nap:
    id: str
    cost: float
    units: int = 1


def nap(task: Nap) -> float:
    time.sleep(task.cost)
    return task.cost


def naps(*costs: float) -> list[Nap]:
    return [Nap(f"nap-{i}", cost) for i, cost in enumerate(costs)]


def ids(supply: FittingTasks[Nap]) -> list[str]:
    found = []
    while (task := supply.next(stopped=lambda: False)[0]) is not None:
        found.append(task.id)
    return found


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A process that seems to be in a Slurm job; its end is to be set."""
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    slurm_jobs.job_end.cache_clear()
    yield monkeypatch
    slurm_jobs.job_end.cache_clear()


def test_nothing_is_predicted_before_a_task_has_finished() -> None:
    forecast = Forecast()
    assert forecast.seconds(1e9) == 0
    forecast.learn(2, 6)
    forecast.learn(2, 2)
    assert forecast.seconds(10) == SAFETY * 10 * 8 / 4
    forecast.learn(0, 100)
    assert forecast.seconds(10) == SAFETY * 10 * 8 / 4


def test_tasks_that_do_not_fit_are_passed_over_for_smaller_ones() -> None:
    supply = FittingTasks(iter(naps(1, 100, 50, 2, 1)), end=time.time() + MARGIN_S + 10)
    supply.forecast.learn(1, 1)
    assert ids(supply) == ["nap-0", "nap-3", "nap-4"]
    assert supply.passed_over == 2
    assert "the end of its Slurm job in 40 s, too soon" in supply.short_of_time.replace("39 s", "40 s")


def test_a_task_that_fits_only_when_it_need_not_wait_is_held_back_until_then() -> None:
    supply = FittingTasks(iter(naps(5, 5)), end=time.time() + MARGIN_S + 10)
    supply.forecast.learn(1, 1)
    first, more = supply.next(stopped=lambda: False)
    assert first is not None
    assert more
    assert supply.next(stopped=lambda: False, behind_another=True) == (None, True)
    assert supply.next(stopped=lambda: False) == (replace(first, id="nap-1"), True)
    assert supply.short_of_time == ""


def test_the_search_for_a_smaller_task_has_an_end() -> None:
    taken = count()
    supply = FittingTasks((replace(nap, id=f"{next(taken)}") for nap in iter(lambda: Nap("", 100), None)), end=0.0)
    supply.forecast.learn(1, 1)
    assert supply.next(stopped=lambda: False) == (None, False)
    assert next(taken) == LOOK_AHEAD + 1


def test_without_an_end_every_task_fits(job: pytest.MonkeyPatch) -> None:
    job.delenv("SLURM_JOB_ID")
    supply = FittingTasks(iter(naps(1e9)))
    supply.forecast.learn(1, 1)
    assert ids(supply) == ["nap-0"]


def test_the_end_of_the_job_is_taken_from_slurm(job: pytest.MonkeyPatch) -> None:
    job.setenv("SLURM_JOB_END_TIME", "1700000000")
    assert slurm_jobs.job_end() == 1.7e9


@pytest.mark.parametrize("kind", ["inline", "local"])
def test_a_map_ends_before_its_job_does_and_says_resume_me(job: pytest.MonkeyPatch, kind: str) -> None:
    job.setattr(time_left, "MARGIN_S", 0.0)
    settings = ExecutorSettings(kind=kind, workers=1)  # type: ignore[arg-type]
    with make_executor(settings) as executor:
        job.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 5))
        outcomes = executor.map_tasks(nap, naps(0.5, 0.5, 60, 60, 0.5), stage="naps")
        found: list[float | None] = []
        with pytest.raises(Interrupted, match=r"the end of its Slurm job in \d s, .*; 3 tasks of stage naps were fin"):
            found += collect(outcomes)
        slurm_jobs.job_end.cache_clear()
        job.delenv("SLURM_JOB_END_TIME")
        job.delenv("SLURM_JOB_ID")
        assert [o.value for o in executor.map_tasks(nap, naps(0), stage="next")] == [0]


def collect(outcomes: Iterator[object]) -> list[float | None]:
    return [getattr(outcome, "value", None) for outcome in outcomes]


def test_a_worker_gives_back_what_would_outlive_it_and_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_run, "_life", task_run._Life())
    left: list[bool] = []
    payload = task_run.pack(nap, Nap("nap", 0))
    task_run.set_life(10.0, lambda: left.append(True))
    assert not task_run.unpack(task_run.run_packed(payload, needed_s=5)).skipped
    # What needs more than a whole life may try in a fresh one.
    assert not task_run.unpack(task_run.run_packed(payload, needed_s=1000)).skipped
    assert left == []
    task_run._life.end -= 6
    assert task_run.unpack(task_run.run_packed(payload, needed_s=5)).skipped
    assert task_run.unpack(task_run.run_packed(payload, needed_s=1000)).skipped
    assert not task_run.unpack(task_run.run_packed(payload)).skipped
    assert left == [True, True]
