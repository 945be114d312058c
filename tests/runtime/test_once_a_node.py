"""Processes that come at once do the work once; nothing that goes wrong there keeps them from going on."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpc_mlsm.runtime import once_a_node as module
from hpc_mlsm.runtime.once_a_node import once_a_node

WORK = """
import os, sys, time
from hpc_mlsm.runtime.once_a_node import once_a_node
def work():
    with open(sys.argv[1], "a") as log:
        log.write(f"{os.getpid()}\\n")
    time.sleep(float(sys.argv[2]))
    if sys.argv[3:] == ["exit"]:
        os._exit(9)
once_a_node("work", work)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_seen", set())
    return tmp_path


def start(log: Path, seconds: float, *how: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", WORK, str(log), str(seconds), *how])


def wait_for_lines(log: Path, n: int) -> list[str]:
    deadline = time.monotonic() + 60
    while not log.exists() or len(log.read_text().split()) < n:
        assert time.monotonic() < deadline, "the work was never begun"
        time.sleep(0.02)
    return log.read_text().split()


def test_processes_that_come_at_once_do_the_work_once_and_all_wait_for_its_end(folder: Path) -> None:
    log = folder / "log"
    processes = [start(log, 1.0) for _ in range(4)]
    (worker,) = wait_for_lines(log, 1)
    assert all(process.poll() is None for process in processes), "none may go on before the work is done"
    assert [process.wait(60) for process in processes] == [0, 0, 0, 0]
    assert log.read_text().split() == [worker]


def test_a_later_run_does_not_do_it_again(folder: Path) -> None:
    done: list[int] = []
    once_a_node("work", lambda: done.append(1))
    module._seen.clear()
    once_a_node("work", lambda: done.append(2))
    once_a_node("other", lambda: done.append(3))
    assert done == [1, 3]


def test_when_the_process_at_work_is_killed_the_next_one_takes_over(folder: Path) -> None:
    log = folder / "log"
    first = start(log, 600.0)
    wait_for_lines(log, 1)
    second = start(log, 0.0)
    time.sleep(0.5)
    first.kill()
    first.wait(60)
    assert second.wait(60) == 0
    assert log.read_text().split() == [str(first.pid), str(second.pid)]


def test_work_that_takes_its_process_down_is_not_taken_for_done(folder: Path) -> None:
    log = folder / "log"
    assert start(log, 0.0, "exit").wait(60) == 9
    assert start(log, 0.0).wait(60) == 0
    assert len(log.read_text().split()) == 2


def test_work_that_raises_is_tried_again_by_the_next(folder: Path) -> None:
    done: list[int] = []

    def broken() -> None:
        raise ValueError("no compiler")

    with pytest.raises(ValueError, match="no compiler"):
        once_a_node("work", broken)
    once_a_node("work", lambda: done.append(1))
    assert done == [1]


def test_who_has_waited_too_long_goes_on_without(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = start(folder / "log", 600.0)
    try:
        wait_for_lines(folder / "log", 1)
        monkeypatch.setattr(module, "PATIENCE_S", 0.2)
        once_a_node("work", lambda: pytest.fail("somebody else is at it"))
        assert holder.poll() is None
    finally:
        holder.kill()
        holder.wait(60)


def test_a_cache_that_cannot_be_written_hinders_nobody(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "cache").write_text("a file where the folder should be")
    once_a_node("work", lambda: pytest.fail("nothing tells the other processes"))
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    once_a_node("other work", lambda: pytest.fail("there is no cache that could be shared"))
