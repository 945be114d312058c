"""Training over workers: as good as in one process, and it goes on whatever becomes of a worker."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
from small_run import opened
from together_runs import LOCAL, PATIENT, checkpointed, config_of, copied, members, once, prepared, rounds

from hpc_mlsm.config.load import plain
from hpc_mlsm.errors import ConfigError, ExecutorError, PlanError
from hpc_mlsm.models.bundle import load_bundle
from hpc_mlsm.runtime.events import Event, TaskFinished, TaskRetried, WorkerLost
from hpc_mlsm.runtime.signals import RESUME_STATUS, Interrupted, request_drain
from hpc_mlsm.stages import train
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.train import TrainSummary

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TWO = (*LOCAL, *PATIENT, "train.workers=2")


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("ready"))


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    yield
    deadline = time.monotonic() + 10
    while members():
        assert time.monotonic() < deadline, members()
        time.sleep(0.1)


def trained(ready: Path, run: RunDirectory, *overrides: str, heard: list[Event] | None = None) -> TrainSummary:
    with opened(run.path, config_of(ready, *overrides), heard) as context:
        return train.run(context)


def rounds_of(heard: list[Event]) -> list[int]:
    """Numbers of the rounds that were told of."""
    return [int(event.task_id.partition(",")[0].split()[1]) for event in heard if isinstance(event, TaskFinished)]


def losses(run: RunDirectory) -> np.ndarray:
    return np.array(load_bundle(run.model).info.metrics["validation_losses"])


def test_two_and_three_workers_learn_what_one_process_learns(ready: Path, tmp_path: Path) -> None:
    # Without sampling of rows and points, only the rounding of sums and of bins' borders differs.
    everything = ("train.boosted.subsample=1", "train.boosted.colsample_bytree=1")
    course = {}
    for workers in (1, 2, 3):
        run = copied(ready, tmp_path / str(workers))
        heard: list[Event] = []
        where = (*LOCAL, "executor.workers=3", f"train.workers={workers}")
        assert trained(ready, run, *rounds(8), *where, *everything, heard=heard).rounds == 8
        assert rounds_of(heard) == list(range(1, 9))
        course[workers] = losses(run)
    for workers in (2, 3):
        assert course[workers] == pytest.approx(course[1], rel=0.05)
        assert course[workers][:3] == pytest.approx(course[1][:3], rel=0.02)


def test_the_same_workers_learn_the_same_again_and_after_an_interruption(ready: Path, tmp_path: Path) -> None:
    undisturbed, stopped = copied(ready, tmp_path / "a"), copied(ready, tmp_path / "b")
    trained(ready, undisturbed, *rounds(80), *TWO)
    thread = once(lambda: checkpointed(stopped) >= 2, lambda: request_drain("SIGUSR1"))
    with pytest.raises(Interrupted, match="stopped by SIGUSR1; stage train came to a common end"):
        trained(ready, stopped, *rounds(80, 2), *TWO)
    thread.join()
    done = checkpointed(stopped)
    assert 2 <= done < 80
    summary = trained(ready, stopped, *rounds(80), *TWO)
    assert (summary.resumed_from, summary.rounds) == (done, 80)
    assert load_bundle(stopped.model).model == load_bundle(undisturbed.model).model


@pytest.mark.parametrize("workers", [(1, 2), (2, 1)])
def test_a_checkpoint_of_one_process_is_continued_by_workers_and_the_other_way_round(
    workers: tuple[int, int], ready: Path, tmp_path: Path
) -> None:
    run = copied(ready, tmp_path)
    first, second = ((*TWO, f"train.workers={n}") for n in workers)
    thread = once(lambda: checkpointed(run) >= 2, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    with pytest.raises(Interrupted, match="stopped by SIGUSR1"):
        trained(ready, run, *rounds(150, 2), *first)
    thread.join()
    done = checkpointed(run)
    assert 2 <= done < 150
    summary = trained(ready, run, *rounds(150), *second)
    assert (summary.resumed_from, summary.rounds) == (done, 150)
    course = losses(run)
    assert len(course) == 150
    assert course.min() < 0.5 * course[0]


def worker_of(member: psutil.Process) -> psutil.Process:
    parent = member.parent()
    assert parent is not None
    return parent


DISTURBANCES: dict[str, Callable[[], object]] = {
    "a worker is killed": lambda: worker_of(members()[0]).kill(),
    "a member is killed": lambda: members()[1].kill(),
    "a member is stopped": lambda: members()[0].suspend(),
    "a worker is stopped": lambda: worker_of(members()[1]).suspend(),
}


class UntilItGoesOn(list[Event]):
    """Hears events, and asks the training to end some rounds after it was started again."""

    def append(self, event: Event) -> None:
        super().append(event)
        again = [told for told in self if isinstance(told, TaskRetried)]
        if again and rounds_of([event]) and rounds_of([event])[0] >= after(again[-1]) + 10:
            request_drain("SIGUSR1")


def after(retry: TaskRetried) -> int:
    """The round after which a training that is started again goes on."""
    return int(retry.reason.rpartition(" ")[2])


@pytest.mark.parametrize("what", DISTURBANCES)
def test_training_goes_on_from_its_checkpoint_when(what: str, ready: Path, tmp_path: Path) -> None:
    run = copied(ready, tmp_path)
    heard = UntilItGoesOn()
    thread = once(lambda: checkpointed(run) >= 5 and len(members()) == 2, DISTURBANCES[what])
    # So many rounds that it cannot be over before a frozen worker is missed, whose member goes on.
    with pytest.raises(Interrupted, match="stage train came to a common end"):
        trained(ready, run, *rounds(20_000), *TWO, heard=heard)
    thread.join()
    # On a starved machine a silence may be taken for one more loss.
    retries = [event for event in heard if isinstance(event, TaskRetried)]
    assert [retry.attempt for retry in retries] == list(range(2, len(retries) + 2))
    assert 5 <= after(retries[0]) <= after(retries[-1]) < checkpointed(run)
    if what.startswith("a worker"):
        assert any(isinstance(event, WorkerLost) for event in heard)
    assert rounds_of(heard) == list(range(1, checkpointed(run) + 1))


def test_it_gives_up_when_it_gets_no_further(ready: Path, tmp_path: Path) -> None:
    run = copied(ready, tmp_path)
    over = threading.Event()

    def kill_whoever_begins() -> None:
        while not over.wait(0.05):
            for member in members():
                member.kill()

    thread = once(lambda: True, kill_whoever_begins)
    heard: list[Event] = []
    try:
        with pytest.raises(ExecutorError, match=r"started 2 times after round 0 and came to no further checkpoint"):
            trained(ready, run, *rounds(50), *TWO, "train.together.restarts=1", heard=heard)
    finally:
        over.set()
        thread.join()
    assert [event.attempt for event in heard if isinstance(event, TaskRetried)] == [2]


def test_vector_leaves_are_refused_with_the_remedy(ready: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"vector leaves in one process only; set it to per_class, or .*workers to 1"):
        trained(ready, copied(ready, tmp_path), *TWO, "train.boosted.trees=vector")


def test_training_that_does_not_fit_a_worker_is_refused_with_the_figures(ready: Path, tmp_path: Path) -> None:
    big = ("train.boosted.max_bin=1024", "train.boosted.max_depth=14", "train.boosted.min_child_weight=0")
    with pytest.raises(PlanError, match=r"training needs about 5\.. GB .*, 0\.4 GB are free"):
        trained(ready, copied(ready, tmp_path), *rounds(5000), *TWO, *big, "executor.memory_per_worker_mb=400")


def test_told_to_stop_the_program_keeps_the_last_round_and_asks_to_be_resumed(ready: Path, tmp_path: Path) -> None:
    run = copied(ready, tmp_path)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain(config_of(ready, *rounds(20_000, 2), *TWO))))
    command = [
        sys.executable,
        "-m",
        "hpc_mlsm.cli.main",
        "train",
        str(tmp_path / "config.yaml"),
        "--run",
        str(run.path),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            while checkpointed(run) < 2:
                assert process.poll() is None, process.communicate()
                time.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == RESUME_STATUS, said
    assert "Traceback" not in said
    assert 2 <= checkpointed(run) < 20_000
