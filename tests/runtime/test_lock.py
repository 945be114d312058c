import errno
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from hpc_mlsm.errors import RunError
from hpc_mlsm.runtime import lock as lock_module
from hpc_mlsm.runtime.events import Event, Note
from hpc_mlsm.runtime.lock import LOCK_NAME, TAKEOVER_S, RunLock
from hpc_mlsm.runtime.lock_holder import Holder, process_start, read_holder
from hpc_mlsm.runtime.signals import draining
from hpc_mlsm.runtime.slurm_jobs import own_cluster


def leave_lock(folder: Path, age_s: float = 0.0, **changes: Any) -> Path:
    """A lock file as another process would have left it, touched ``age_s`` seconds ago."""
    path = folder / LOCK_NAME
    path.write_text(json.dumps(asdict(replace(Holder.this_process(), **changes))))
    then = time.time() - age_s
    os.utime(path, (then, then))
    return path


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_lock_is_there_while_it_is_held_and_gone_afterwards(tmp_path: Path) -> None:
    with RunLock(tmp_path) as lock:
        holder = read_holder(tmp_path / LOCK_NAME)
        assert holder is not None
        assert (holder.host, holder.pid) == (platform.node(), os.getpid())
        assert lock.held()
    assert list(tmp_path.iterdir()) == []
    lock.release()


def test_a_live_holder_is_named_to_whoever_comes_second(tmp_path: Path) -> None:
    with RunLock(tmp_path):
        with pytest.raises(RunError, match=rf"in use by process {os.getpid()} of .* on {platform.node()}.*running"):
            RunLock(tmp_path).acquire()
        assert [path.name for path in tmp_path.iterdir()] == [LOCK_NAME]


def test_locks_of_other_names_are_held_apart(tmp_path: Path) -> None:
    with RunLock(tmp_path), RunLock(tmp_path, name="submit.lock"):
        assert {path.name for path in tmp_path.iterdir()} == {LOCK_NAME, "submit.lock"}
        with pytest.raises(RunError, match=r"in use by process .* delete submit\.lock only"):
            RunLock(tmp_path, name="submit.lock").acquire()
    assert list(tmp_path.iterdir()) == []


def test_a_dead_process_is_succeeded_and_a_note_says_so(tmp_path: Path) -> None:
    pid = dead_pid()
    leave_lock(tmp_path, pid=pid)
    events: list[Event] = []
    with RunLock(tmp_path, on_event=events.append) as lock:
        assert lock.held()
    (note,) = events
    assert isinstance(note, Note)
    assert f"process {pid}" in note.text


def test_a_later_process_with_the_same_pid_is_not_taken_for_the_holder(tmp_path: Path) -> None:
    leave_lock(tmp_path, pid=os.getppid(), started="another boot:1")
    with RunLock(tmp_path) as lock:
        assert lock.held()


def test_another_host_is_alive_as_long_as_it_touches_its_lock(tmp_path: Path) -> None:
    leave_lock(tmp_path, age_s=500, host="elsewhere")
    with pytest.raises(RunError, match=r"on elsewhere .*last sign of life is 50\d s old"):
        RunLock(tmp_path).acquire()
    leave_lock(tmp_path, age_s=700, host="elsewhere")
    with RunLock(tmp_path) as lock:
        assert lock.held()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": "a"}', "\x00"])
def test_a_lock_that_cannot_be_understood_is_live_until_it_is_old(tmp_path: Path, content: str) -> None:
    path = tmp_path / LOCK_NAME
    path.write_text(content)
    with pytest.raises(RunError, match="an unknown process"):
        RunLock(tmp_path).acquire()
    os.utime(path, (1, 1))
    with RunLock(tmp_path) as lock:
        assert lock.held()


def test_the_heartbeat_touches_the_lock(tmp_path: Path) -> None:
    with RunLock(tmp_path, heartbeat_s=0.02):
        path = tmp_path / LOCK_NAME
        os.utime(path, (1, 1))
        deadline = time.monotonic() + 5
        while path.stat().st_mtime < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert abs(path.stat().st_mtime - time.time()) < 5


def test_whoever_loses_the_lock_stops_working_and_leaves_it_to_the_other(tmp_path: Path) -> None:
    with draining() as drain:
        with RunLock(tmp_path, heartbeat_s=0.02) as lock:
            path = leave_lock(tmp_path, host="elsewhere")
            deadline = time.monotonic() + 5
            while not drain.requested and time.monotonic() < deadline:
                time.sleep(0.01)
            assert not lock.held()
        assert "taking over" in drain.reason
        assert path.exists()


@pytest.mark.parametrize("dead", [False, True])
def test_of_many_at_once_exactly_one_gets_the_lock(tmp_path: Path, dead: bool) -> None:
    n, pid = 8, dead_pid()
    for _ in range(25):
        if dead:
            leave_lock(tmp_path, pid=pid)
        begin, end = threading.Barrier(n), threading.Barrier(n)
        heard: list[str] = []

        def grab(begin: threading.Barrier = begin, end: threading.Barrier = end, heard: list[str] = heard) -> None:
            lock = RunLock(tmp_path)
            begin.wait(10)
            try:
                lock.acquire()
                heard.append("got it")
            except RunError as error:
                heard.append(str(error))
            end.wait(10)
            lock.release()

        threads = [threading.Thread(target=grab) for _ in range(n)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert heard.count("got it") == 1, heard
        assert len(heard) == n
        assert list(tmp_path.iterdir()) == []


def test_a_takeover_that_was_cut_short_does_not_block_for_ever(tmp_path: Path) -> None:
    leave_lock(tmp_path, pid=dead_pid())
    mutex = tmp_path / "run.takeover"
    mutex.touch()
    with pytest.raises(RunError, match="is just taking over"):
        RunLock(tmp_path).acquire()
    then = time.time() - TAKEOVER_S - 5
    os.utime(mutex, (then, then))
    with pytest.raises(RunError, match="is just taking over"):
        RunLock(tmp_path).acquire()
    with RunLock(tmp_path) as lock:
        assert lock.held()


def test_a_file_system_without_links_is_locked_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(lock_module.os, "link", refuse)
    with RunLock(tmp_path), pytest.raises(RunError, match="in use by process"):
        RunLock(tmp_path).acquire()
    assert list(tmp_path.iterdir()) == []


def test_a_link_that_was_made_although_it_was_said_to_fail_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def make_and_fail(source: Path, target: Path) -> None:
        link(source, target)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(lock_module.os, "link", make_and_fail)
    with RunLock(tmp_path) as lock:
        assert lock.held()


def test_a_folder_that_is_missing_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot lock the run directory .*missing: No such file"):
        RunLock(tmp_path / "missing").acquire()


def test_a_process_has_one_start_and_a_dead_one_has_none() -> None:
    start = process_start(os.getpid())
    assert start is not None
    assert start == process_start(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as later:
        assert start != process_start(later.pid)
        assert later.stdin is not None
        later.stdin.write(b"\n")
    assert process_start(dead_pid()) is None


@pytest.fixture
def in_job(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Makes this process one of a Slurm job, as far as its environment says."""

    def enter(job: str, restart: str = "", cluster: str = "lab") -> None:
        monkeypatch.setenv("SLURM_JOB_ID", job)
        monkeypatch.setenv("SLURM_CLUSTER_NAME", cluster)
        monkeypatch.setenv("SLURM_RESTART_COUNT", restart)
        own_cluster.cache_clear()

    yield enter
    own_cluster.cache_clear()


def test_a_requeued_job_succeeds_its_first_start_at_once(tmp_path: Path, in_job: Callable[..., None]) -> None:
    in_job("41")
    leave_lock(tmp_path, host="elsewhere")
    in_job("41", "1")
    events: list[Event] = []
    with RunLock(tmp_path, on_event=events.append) as lock:
        assert lock.held()
        held = read_holder(tmp_path / LOCK_NAME)
        assert held is not None
        assert (held.job, held.restart, held.cluster) == ("41", 1, "lab")
    (note,) = events
    assert isinstance(note, Note)
    assert "on elsewhere in Slurm job 41" in note.text


@pytest.mark.parametrize(("job", "restart", "cluster"), [("41", "", "lab"), ("42", "3", "lab"), ("41", "1", "other")])
def test_other_starts_and_jobs_and_clusters_wait_for_the_holder(
    tmp_path: Path, in_job: Callable[..., None], monkeypatch: pytest.MonkeyPatch, job: str, restart: str, cluster: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    in_job("41")
    leave_lock(tmp_path, host="elsewhere")
    in_job(job, restart, cluster)
    with pytest.raises(RunError, match=r"on elsewhere in Slurm job 41 .*last sign of life"):
        RunLock(tmp_path).acquire()


@pytest.mark.parametrize(
    ("says", "ended"),
    [
        ("echo COMPLETED", True),
        ("echo TIMEOUT", True),
        ("echo RUNNING", False),
        ("echo COMPLETING", False),
        ("echo PENDING", False),
        ("true", False),
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", True),
        ("echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1", False),
    ],
)
def test_a_holder_is_dead_when_slurm_surely_says_that_its_job_has_ended(
    tmp_path: Path, in_job: Callable[..., None], monkeypatch: pytest.MonkeyPatch, says: str, ended: bool
) -> None:
    program = tmp_path / "bin" / "squeue"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{says}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    in_job("41")
    leave_lock(tmp_path, host="elsewhere")
    in_job("50")
    if ended:
        with RunLock(tmp_path) as lock:
            assert lock.held()
    else:
        with pytest.raises(RunError, match="last sign of life"):
            RunLock(tmp_path).acquire()


def test_locks_of_earlier_and_later_versions_are_read(tmp_path: Path) -> None:
    path = leave_lock(tmp_path, host="elsewhere")
    content = json.loads(path.read_text())
    old = {key: value for key, value in content.items() if key not in ("job", "restart", "cluster")}
    path.write_text(json.dumps(old))
    holder = read_holder(path)
    assert holder is not None
    assert (holder.job, holder.host) == ("", "elsewhere")
    path.write_text(json.dumps(content | {"mood": "good"}))
    assert read_holder(path) is not None
