"""Work that several workers do together: all of them at the same time or none, and no way to hang."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from together_work import (
    die,
    fail_with_a_peer,
    freeze,
    linger,
    parts,
    place,
    swap,
    swell,
    until_stopped,
)

from hpc_mlsm.errors import ExecutorError, StructureError
from hpc_mlsm.runtime.events import Event, WorkerLost
from hpc_mlsm.runtime.executor import MemberLost, Together, TooFewWorkers
from hpc_mlsm.runtime.inline import InlineExecutor
from hpc_mlsm.runtime.local import LocalExecutor
from hpc_mlsm.runtime.resources import usable_cores
from hpc_mlsm.runtime.signals import Interrupted, request_drain

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SOON = Together(wait_s=30.0, silence_s=4.0)
BOUND_S = 60.0


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    with LocalExecutor(3, memory_per_worker_mb=900, grace_s=20.0) as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_stays(executor: LocalExecutor) -> Iterator[None]:
    """Whatever becomes of the work, no member's process is left, and all workers are there again."""
    yield
    deadline = time.monotonic() + BOUND_S
    while members() or len(executor.workers()) < 3:
        assert time.monotonic() < deadline, (members(), executor.workers())
        time.sleep(0.1)


def members() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "hpc_mlsm.runtime.member" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def pids(folder: Path, n: int) -> list[int]:
    """Processes of all members, once they have said that they are at work."""
    deadline = time.monotonic() + 60
    while len(found := sorted(folder.glob("member-?"))) < n:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return [int(path.read_text()) for path in found]


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def later(action: object) -> threading.Thread:
    thread = threading.Thread(target=action, daemon=True)  # type: ignore[arg-type]
    thread.start()
    return thread


def test_each_runs_on_its_own_worker_with_its_share_of_the_cores(executor: LocalExecutor) -> None:
    heard: list[tuple[int, str]] = []
    how = Together(on_message=lambda rank, message: heard.append((rank, message)))
    found = executor.run_together(place, parts(3), stage="places", how=how)
    assert [(n, rank, size) for n, rank, size, *_ in found] == [(0, 0, 3), (1, 1, 3), (2, 2, 3)]
    assert len({pid for _, _, _, pid, *_ in found}) == 3
    assert {host for *_, host, _, _ in found} == {"127.0.0.1"}
    share = max(1, usable_cores() // 3)
    assert {(threads, environment) for *_, threads, environment in found} == {(share, str(share))}
    assert sorted(heard) == [(rank, f"hello from {rank}") for rank in range(3)]


def test_fewer_members_have_more_cores_each(executor: LocalExecutor) -> None:
    ((*_, threads, environment),) = executor.run_together(place, parts(1), stage="one")
    assert (threads, environment) == (usable_cores(), str(usable_cores()))
    ((*_, threads, _),) = executor.run_together(place, parts(1), stage="one", how=Together(threads=7))
    assert threads == 7


def test_members_exchange_values(executor: LocalExecutor) -> None:
    assert executor.run_together(swap, parts(3), stage="swap") == [[3, 0, 1, 4]] * 3


def test_more_members_than_workers_are_refused_with_the_number_there_is(executor: LocalExecutor) -> None:
    with pytest.raises(TooFewWorkers, match="4 workers are needed at the same time, and 3 are there") as refusal:
        executor.run_together(swap, parts(4), stage="many", how=Together(wait_s=0.5))
    assert refusal.value.found == 3


def test_an_error_of_one_is_raised_and_not_what_follows_from_it(executor: LocalExecutor) -> None:
    with pytest.raises(StructureError, match="the last one has no atoms"):
        executor.run_together(fail_with_a_peer, parts(3), stage="fail", how=SOON)


def test_a_member_that_is_killed_is_told_from_one_that_gave_up(executor: LocalExecutor) -> None:
    start = time.monotonic()
    with pytest.raises(MemberLost, match=r"member [12] on tls.* was killed by SIGKILL"):
        executor.run_together(die, parts(3), stage="die", how=SOON)
    assert time.monotonic() - start < BOUND_S


def test_a_member_that_is_stopped_is_ended_with_the_others(executor: LocalExecutor) -> None:
    start = time.monotonic()
    with pytest.raises(MemberLost, match=r"member 1 on tls.* gave no sign of life for 4 s"):
        executor.run_together(freeze, parts(3), stage="freeze", how=SOON)
    assert time.monotonic() - start < BOUND_S


def test_a_worker_that_is_killed_takes_its_member_with_it_and_the_others_are_freed(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    events: list[Event] = []

    def kill_the_worker() -> None:
        psutil.Process(pids(tmp_path, 2)[1]).parent().kill()  # type: ignore[union-attr]

    thread = later(kill_the_worker)
    with pytest.raises(MemberLost, match=r"worker tls.* was killed"):
        executor.run_together(linger, parts(2, tmp_path), stage="kill", on_event=events.append, how=SOON)
    thread.join()
    assert [type(event) for event in events] == [WorkerLost]
    deadline = time.monotonic() + 5
    while any(lives(pid) for pid in pids(tmp_path, 2)):
        assert time.monotonic() < deadline, "a member outlived the work"
        time.sleep(0.05)


def test_a_worker_that_is_stopped_is_started_again_and_the_others_are_freed(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    before = set(executor.workers())
    events: list[Event] = []

    def stop_the_worker() -> None:
        psutil.Process(pids(tmp_path, 3)[0]).parent().suspend()  # type: ignore[union-attr]

    thread = later(stop_the_worker)
    start = time.monotonic()
    with pytest.raises(MemberLost, match=r"worker tls.* gave no sign of life for \d+ s"):
        executor.run_together(linger, parts(3, tmp_path), stage="stop", on_event=events.append, how=SOON)
    thread.join()
    assert time.monotonic() - start < BOUND_S
    assert [type(event) for event in events] == [WorkerLost]
    # The next work has three workers again, one of them new.
    assert len(executor.run_together(place, parts(3), stage="after", how=SOON)) == 3
    assert len(before & set(executor.workers())) == 2


def test_told_to_stop_all_come_to_their_own_end(executor: LocalExecutor, tmp_path: Path) -> None:
    thread = later(lambda: pids(tmp_path, 3) and request_drain("SIGUSR1"))
    with pytest.raises(Interrupted, match="stopped by SIGUSR1; stage drain came to a common end"):
        executor.run_together(until_stopped, parts(3, tmp_path), stage="drain", how=SOON)
    thread.join()
    assert {path.read_text() for path in tmp_path.glob("member-?")} == {"stopped"}


def test_what_does_not_come_to_an_end_is_ended_with_the_grace(executor: LocalExecutor, tmp_path: Path) -> None:
    thread = later(lambda: pids(tmp_path, 2) and request_drain("SIGTERM"))
    executor.grace_s, usual = 1.0, executor.grace_s
    try:
        with pytest.raises(Interrupted, match="did not come to a common end within 1 s"):
            executor.run_together(linger, parts(2, tmp_path), stage="grace", how=SOON)
    finally:
        executor.grace_s = usual
    thread.join()


def test_a_member_that_grows_beyond_its_worker_is_ended_with_the_figures(executor: LocalExecutor) -> None:
    with pytest.raises(ExecutorError, match=r"grew to \d+ MB and was ended: a worker may use 900 MB"):
        executor.run_together(swell, parts(1), stage="swell", how=SOON)


def test_an_error_in_the_ear_of_the_driver_ends_the_work(executor: LocalExecutor) -> None:
    def deaf(rank: int, message: object) -> None:
        raise RuntimeError("the listener is broken")

    with pytest.raises(RuntimeError, match="the listener is broken"):
        executor.run_together(place, parts(2), stage="deaf", how=Together(on_message=deaf))


def test_maps_go_on_after_work_together(executor: LocalExecutor) -> None:
    assert len(list(executor.map_tasks(len_of_id, parts(9), stage="map"))) == 9


def len_of_id(part: object) -> int:
    return len(str(part))


def test_without_workers_one_may_do_it_alone() -> None:
    heard: list[tuple[int, str]] = []
    how = Together(on_message=lambda rank, message: heard.append((rank, message)))
    with InlineExecutor() as inline:
        assert inline.run_together(swap, parts(1), stage="alone") == [[0, 0]]
        ((n, rank, size, pid, *_),) = inline.run_together(place, parts(1), stage="alone", how=how)
        with pytest.raises(TooFewWorkers, match="2 workers are needed"):
            inline.run_together(swap, parts(2), stage="two")
    assert (n, rank, size, pid) == (0, 0, 1, os.getpid())
    assert heard == [(0, "hello from 0")]
    with pytest.raises(ExecutorError, match="was shut down"):
        inline.run_together(swap, parts(1), stage="late")


def test_ctrl_c_twice_leaves_nobody_behind(executor: LocalExecutor, tmp_path: Path) -> None:
    def interrupt() -> None:
        pids(tmp_path, 2)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)

    thread = later(interrupt)
    with pytest.raises(KeyboardInterrupt):
        executor.run_together(linger, parts(2, tmp_path), stage="abort", how=SOON)
    thread.join()
