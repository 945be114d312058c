import pytest

from hpc_mlsm.runtime.accounts import Accounts
from hpc_mlsm.runtime.events import (
    Event,
    SetAside,
    StageFinished,
    StageStarted,
    TaskFailed,
    TaskFinished,
    TaskRetried,
    WorkerLost,
)


def started(time: float, workers: int = 2, cores: int = 4) -> StageStarted:
    return StageStarted(
        stage="simulate", n_tasks=3, units="patterns", n_units=300, workers=workers, cores=cores, time=time
    )


def task(time: float, seconds: float = 8.0) -> TaskFinished:
    return TaskFinished(stage="simulate", task_id="a", n_units=100, seconds=seconds, worker="n1:7", time=time)


def ended(time: float) -> StageFinished:
    return StageFinished(stage="simulate", done=3, failed=0, seconds=0.0, time=time)


def test_a_stage_is_accounted_for_with_its_cores_and_the_share_of_time_its_workers_were_busy() -> None:
    (stage,) = Accounts.of([started(100), task(105), task(108), task(109), ended(120)]).stages()
    assert (stage.tasks, stage.n_units, stage.sittings) == (3, 300, 1)
    assert stage.seconds == pytest.approx(20)
    assert stage.rate == pytest.approx(15)
    assert stage.core_hours == pytest.approx(4 * 20 / 3600)
    assert stage.efficiency == pytest.approx(24 / 40)


def test_what_went_wrong_is_counted() -> None:
    events: list[Event] = [
        started(0),
        WorkerLost(stage="simulate", worker="tcp://a", reason="crashed", time=1),
        TaskRetried(stage="simulate", task_id="a", attempt=2, reason="its worker crashed", time=1),
        TaskFailed(stage="simulate", task_id="a", error="no", time=2),
        ended(3),
        # Told once the stage is over.
        SetAside(stage="simulate", id="W2C", reason="cell_symmetry_mismatch", detail="gamma is 90", time=4),
    ]
    (stage,) = Accounts.of(events).stages()
    assert (stage.workers_lost, stage.retried, stage.failed, stage.set_aside) == (1, 1, 1, 1)
    assert stage.seconds == pytest.approx(3)


def test_a_sitting_that_was_killed_lasts_until_its_last_event_and_the_next_is_added() -> None:
    (stage,) = Accounts.of([started(0), task(10), started(1000, workers=1), task(1005), ended(1006)]).stages()
    assert stage.sittings == 2
    assert stage.seconds == pytest.approx(16)
    assert stage.worker_s == pytest.approx(2 * 10 + 1 * 6)


def test_asking_in_the_middle_counts_no_time_twice() -> None:
    accounts = Accounts.of([started(0), task(10)])
    assert accounts.stages()[0].seconds == pytest.approx(10)
    accounts(task(15))
    accounts(ended(30))
    assert accounts.stages()[0].seconds == pytest.approx(30)


def test_a_stage_without_workers_has_no_efficiency() -> None:
    (stage,) = Accounts.of([started(0, workers=0), task(5), ended(5)]).stages()
    assert stage.efficiency is None


def test_stages_keep_the_order_in_which_they_began() -> None:
    group = StageStarted(stage="group", n_tasks=1, units="structures", n_units=5, time=7)
    found = Accounts.of([started(0), ended(5), group]).stages()
    assert [one.stage for one in found] == ["simulate", "group"]


def test_a_stage_that_makes_different_things_has_an_account_for_each() -> None:
    looked_at = StageStarted(stage="simulate", n_tasks=1, units="structures", n_units=5, time=20)
    found = Accounts.of(
        [started(0), task(5), ended(10), looked_at, task(22), ended(24), started(30), ended(31)]
    ).stages()
    assert [(one.units, one.n_units, one.sittings) for one in found] == [("patterns", 100, 2), ("structures", 100, 1)]
    assert [one.seconds for one in found] == pytest.approx([11, 4])
