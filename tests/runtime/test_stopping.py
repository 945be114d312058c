"""What becomes of a program that is told to stop, or killed, while its tasks run; and what it leaves behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hpc_mlsm.runtime.local import LocalExecutor
from hpc_mlsm.runtime.signals import RESUME_STATUS

REPOSITORY = Path(__file__).parents[2]

PROGRAM = """
import signal, sys
from hpc_mlsm.runtime.events import TaskSubmitted
from hpc_mlsm.runtime.executor import Outcome
from hpc_mlsm.runtime.factory import make_executor
from hpc_mlsm.runtime.settings import ExecutorSettings
from hpc_mlsm.runtime.signals import RESUME_STATUS, Interrupted
from batches import batches, nap, say

def main():
    # A shell that runs the tests in the background would have it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    kind, scratch, grace, nap_s = sys.argv[1:]
    settings = ExecutorSettings(kind=kind, workers=2, scratch=scratch, grace_s=float(grace))
    try:
        with make_executor(settings) as executor:
            for outcome in executor.map_tasks(nap, batches(50, folder=nap_s), stage="naps", on_event=show):
                say("finished", outcome.task.id)
    except Interrupted as stop:
        say("interrupted:", str(stop))
        sys.exit(RESUME_STATUS)

def show(event):
    if isinstance(event, TaskSubmitted):
        say("submitted", event.task_id)

if __name__ == "__main__":
    main()
"""


class Program:
    """A run of the program above in a process group of its own, as a shell would start it."""

    def __init__(self, folder: Path, kind: str, *, grace_s: float, nap_s: float) -> None:
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        script = folder / "program.py"
        script.write_text(PROGRAM)
        path = os.pathsep.join([str(REPOSITORY), str(Path(__file__).parent)])
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(script), kind, str(self.scratch), str(grace_s), str(nap_s)],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []

    def wait_for(self, word: str, count: int = 1) -> None:
        assert self.process.stdout is not None
        while sum(line.startswith(word) for line in self.lines) < count:
            line = self.process.stdout.readline()
            assert line, self.process.communicate()[1]
            self.lines.append(line)

    def survivors(self) -> list[psutil.Process]:
        """What still runs of it; not what has ended and only waits for init to notice."""
        session = [p for p in psutil.process_iter(["status"]) if _in_session(p.pid, self.process.pid)]
        return [process for process in session if process.info["status"] != psutil.STATUS_ZOMBIE]

    def finish(self) -> tuple[int, str, str]:
        """Exit status, all output, and errors; nothing of the program may be left."""
        out, errors = self.process.communicate(timeout=30)
        time.sleep(0.1)
        assert self.survivors() == []
        assert list(self.scratch.iterdir()) == []
        return self.process.returncode, "".join(self.lines) + out, errors


def _in_session(pid: int, session: int) -> bool:
    try:
        return os.getsid(pid) == session
    except ProcessLookupError:
        return False


@pytest.mark.parametrize(("kind", "number"), [("inline", signal.SIGUSR1), ("local", signal.SIGTERM)])
def test_a_stop_signal_lets_running_tasks_finish_and_says_resume_me(
    tmp_path: Path, kind: str, number: signal.Signals
) -> None:
    program = Program(tmp_path, kind, grace_s=20, nap_s=0.2)
    program.wait_for("finished", 2)
    program.process.send_signal(number)
    status, out, errors = program.finish()
    assert (status, errors) == (RESUME_STATUS, "")
    assert f"interrupted: stopped by {number.name}" in out
    finished, submitted = out.count("finished batch"), out.count("submitted")
    assert 2 <= finished < 10
    # All that was submitted is either done, or was still queued and not started.
    assert submitted - finished <= (2 if kind == "local" else 0)
    assert f"{finished} tasks of stage naps were finished" in out


def test_ctrl_c_reaches_workers_as_well_but_their_tasks_finish(tmp_path: Path) -> None:
    program = Program(tmp_path, "local", grace_s=20, nap_s=0.5)
    program.wait_for("finished", 2)
    os.killpg(program.process.pid, signal.SIGINT)
    status, out, errors = program.finish()
    assert (status, errors) == (RESUME_STATUS, "")
    assert "interrupted: stopped by Ctrl-C; 4 tasks of stage naps were finished" in out


def test_a_second_ctrl_c_aborts_at_once(tmp_path: Path) -> None:
    program = Program(tmp_path, "local", grace_s=100, nap_s=60)
    program.wait_for("running", 2)
    start = time.monotonic()
    os.killpg(program.process.pid, signal.SIGINT)
    time.sleep(0.5)
    os.killpg(program.process.pid, signal.SIGINT)
    status, _, errors = program.finish()
    assert time.monotonic() - start < 8
    assert status == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt: SIGINT")


def test_tasks_that_outlast_the_grace_are_left_undone(tmp_path: Path) -> None:
    program = Program(tmp_path, "local", grace_s=0.5, nap_s=60)
    program.wait_for("running", 2)
    start = time.monotonic()
    program.process.send_signal(signal.SIGTERM)
    status, out, errors = program.finish()
    assert time.monotonic() - start < 8
    assert (status, errors) == (RESUME_STATUS, "")
    assert "0 tasks of stage naps were finished, 4 more were with the workers and did not finish within 0.5 s" in out


def test_a_killed_driver_takes_its_workers_along_and_the_next_sweeps_up(tmp_path: Path) -> None:
    program = Program(tmp_path, "local", grace_s=20, nap_s=60)
    program.wait_for("running", 2)
    (left,) = program.scratch.iterdir()
    program.process.kill()
    program.process.wait()
    deadline = time.monotonic() + 5
    while program.survivors() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert program.survivors() == []
    program.process.communicate()
    others = program.scratch / left.name.replace(str(program.process.pid), "1")
    others.mkdir()
    with LocalExecutor(1, scratch=program.scratch):
        assert not left.exists()
    assert list(program.scratch.iterdir()) == [others]


def test_a_complete_map_is_silent_and_leaves_nothing(tmp_path: Path) -> None:
    program = Program(tmp_path, "local", grace_s=5, nap_s=0)
    status, out, errors = program.finish()
    assert (status, errors) == (0, "")
    assert out.count("finished") == 50
