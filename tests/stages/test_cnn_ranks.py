"""One process and two ranks train the same network; killed, stopped or lost, they end in time and go on exactly."""

import importlib.util
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from cnn_launch import CnnLaunch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        importlib.util.find_spec("tensorflow") is None, reason="tensorflow is not installed (extra cnn)"
    ),
]

NO_DROPOUT: dict[str, object] = {"dropout": 0.0}
"""Dropout differs between numbers of ranks; all else does not."""

ENDLESS: dict[str, object] = {"epochs": 5000, "patience": 5000, "dropout": 0.0}


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[CnnLaunch]:
    launch = CnnLaunch(tmp_path / "run")
    yield launch
    launch.kill()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> CnnLaunch:
    """One process, undisturbed."""
    launch = CnnLaunch(tmp_path_factory.mktemp("alone") / "run")
    launch.start_alone(NO_DROPOUT)
    (ended,) = launch.ended()
    assert ended.status == 0, ended.said
    return launch


def assert_same_within_rounding(launch: CnnLaunch, alone: CnnLaunch) -> None:
    """Sums over ranks are rounded in another order, and Adam makes more of that in weights whose gradient is small."""
    assert launch.epochs == alone.epochs == [1, 2, 3, 4]
    assert launch.losses == pytest.approx(alone.losses, abs=2e-3)
    one, two = alone.result(), launch.result()
    for name in set(one) - {"resumed_from"}:
        assert np.allclose(one[name], two[name], atol=5e-3), name


def test_two_ranks_of_which_one_is_told_to_stop_train_with_one_process_that_goes_on_what_one_does_alone(
    launch: CnnLaunch, alone: CnnLaunch
) -> None:
    launch.start_two(NO_DROPOUT, ("stop-after-2", ""))
    ended = launch.ended()
    assert [one.status for one in ended] == [75, 75], [one.said for one in ended]
    assert "stopped by SIGUSR1" in ended[0].said
    assert "stopped by a signal to another rank" in ended[1].said
    assert "are in the checkpoint. Run the same command again to resume" in ended[0].said
    assert launch.epochs == [1, 2]
    launch.start_alone(NO_DROPOUT)
    assert launch.ended()[0].status == 0
    assert_same_within_rounding(launch, alone)
    assert launch.result()["resumed_from"].tolist()[0] == 2
    assert not list((launch.folder / "training").glob("ranks-*"))


def test_after_kill_9_training_goes_on_to_exactly_the_same_weights(launch: CnnLaunch, alone: CnnLaunch) -> None:
    launch.start_alone(NO_DROPOUT, "kill-after-2")
    assert launch.ended()[0].status == -signal.SIGKILL
    assert launch.epochs == [1, 2]
    launch.start_alone(NO_DROPOUT)
    assert launch.ended()[0].status == 0
    assert launch.epochs == [1, 2, 3, 4]
    one, resumed = alone.result(), launch.result()
    assert resumed.pop("resumed_from").tolist() == [2, 0]
    assert all(np.array_equal(one[name], resumed[name]) for name in resumed)
    assert launch.losses == alone.losses


def test_a_first_rank_that_is_killed_ends_the_other_which_asks_to_be_run_again(launch: CnnLaunch) -> None:
    # What becomes of the first where another is killed is seen on the cluster.
    launch.start_two(ENDLESS)
    launch.await_epochs(2)
    start = time.monotonic()
    os.kill(launch.pid(0), signal.SIGKILL)
    ended = launch.ended(60)
    assert time.monotonic() - start < 60
    assert [one.status for one in ended] == [-signal.SIGKILL, 75]
    assert "rank 1 of 2 lost another one" in ended[1].said
    assert "training goes on from its last checkpoint" in ended[1].said


def test_a_rank_that_hangs_ends_the_other_within_the_time_that_is_set(launch: CnnLaunch) -> None:
    launch.start_two({**ENDLESS, "stall_s": 5.0, "schedule": "constant", "weight_decay": 0.0})
    launch.await_epochs(2)
    hung = launch.pid(1)
    os.kill(hung, signal.SIGSTOP)
    start = time.monotonic()
    status = launch.processes[0].wait(120)
    waited = time.monotonic() - start
    os.kill(hung, signal.SIGKILL)
    said = launch.ended()[0].said
    assert status == 75, said
    assert waited < 60
    # TensorFlow looks after the others itself every ten seconds.
    assert "rank 0 of 2 heard nothing from the others for" in said or "rank 0 of 2 lost another one" in said
    assert "run the same command again" in said


def test_ranks_with_different_data_are_refused_before_the_first_step(launch: CnnLaunch) -> None:
    launch.start_two(NO_DROPOUT, ("", "other-data"))
    for ended in launch.ended():
        assert ended.status == 1
        assert "ranks that train together differ in data (rank 0: the data; rank 1: data of rank 1)" in ended.said
    assert launch.epochs == []
