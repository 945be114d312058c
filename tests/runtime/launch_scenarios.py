"""What every launch of ranks must do, whoever starts them; test modules import these tests and give a ``launch``."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import psutil
import pytest

HERE = Path(__file__).parent
BOUND_S = 30.0
MARK = "LAUNCH_UNDER_TEST"
# Dask leaves a socket to be collected where it is connecting to a process that dies.
WARNINGS = ("-W", "error", "-W", "ignore:unclosed:ResourceWarning")
RANK_VARIABLES = ("OMPI_COMM_WORLD_RANK", "SLURM_PROCID")


@dataclass
class Launch:
    """Starts ranks that run ``launch_driver.py``, and sees what becomes of them."""

    kind: str
    command: Callable[[int], list[str]]
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, case: str, ranks: int = 4, script: str = "launch_driver.py") -> "subprocess.Popen[str]":
        path = os.pathsep.join((str(HERE.parents[1]), str(HERE)))
        return subprocess.Popen(
            [
                *self.command(ranks),
                sys.executable,
                *WARNINGS,
                str(HERE / script),
                self.kind,
                str(self.folder),
                case,
            ],
            env={**os.environ, **self.environment, "PYTHONPATH": path, MARK: str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, case: str, ranks: int = 4, script: str = "launch_driver.py") -> "subprocess.CompletedProcess[str]":
        process = self.start(case, ranks, script)
        return self.ended(process, 90)

    def ended(self, process: "subprocess.Popen[str]", timeout_s: float) -> "subprocess.CompletedProcess[str]":
        try:
            out, err = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    @property
    def report(self) -> dict[str, Any]:
        """What the driver wrote."""
        path = self.folder / "report.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def await_files(self, pattern: str, n: int) -> None:
        deadline = time.monotonic() + 60
        while len(list(self.folder.glob(pattern))) < n:
            assert time.monotonic() < deadline, f"{pattern} did not come"
            time.sleep(0.1)

    def processes(self) -> list[psutil.Process]:
        """All processes of this launch: they have inherited a variable of their environment."""
        return [process for process in psutil.process_iter() if _variable(process, MARK) == str(self.folder)]

    def rank(self, number: int) -> psutil.Process:
        """The process that was started as a rank."""
        found = [p for p in self.processes() if str(number) in (_variable(p, name) for name in RANK_VARIABLES)]
        return min(found, key=lambda process: process.create_time())

    def assert_nothing_left(self) -> None:
        deadline = time.monotonic() + 5
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert left == []


def _variable(process: psutil.Process, name: str) -> str | None:
    try:
        return process.environ().get(name)
    except psutil.Error:
        return None


@pytest.fixture
def tidy(launch: Launch) -> Iterator[None]:
    """Whatever a test found, no process stays behind."""
    yield
    for process in launch.processes():
        process.kill()


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("tidy"), pytest.mark.timeout(300)]


def test_results_and_errors_come_back_from_all_workers_without_noise(launch: Launch) -> None:
    ended = launch.run("results")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert launch.report["values"] == {str(n): n**2 for n in range(40)}
    assert launch.report["errors"] == {"2": "ValueError: two is wrong"}
    assert launch.report["workers"] == launch.report["capacity"] == 2
    launch.assert_nothing_left()
    assert list((launch.folder / "scratch").iterdir()) == []


def test_it_behaves_as_every_executor(launch: Launch) -> None:
    ended = launch.run("", script="launched_checks.py")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (suite,) = ElementTree.parse(launch.folder / "report.xml").iter("testsuite")
    assert int(suite.attrib["tests"]) >= 16
    assert {suite.attrib[name] for name in ("failures", "errors", "skipped")} == {"0"}


def test_a_worker_that_is_killed_comes_back_and_its_task_is_retried(launch: Launch) -> None:
    ended = launch.run("death")
    assert ended.returncode == 0, ended.stderr
    assert launch.report["values"] == list(range(8))
    assert launch.report["lost"] == 1
    assert re.match(r"was killed by signal 9 on \S+$", launch.report["reason"])
    assert "Traceback" not in ended.stderr
    launch.assert_nothing_left()


def test_the_way_to_the_dashboard_is_told(launch: Launch) -> None:
    pytest.importorskip("bokeh")
    ended = launch.run("shown")
    assert (ended.returncode, ended.stderr) == (0, "")
    (told,) = launch.report["told"]
    assert "ssh -N -L 8787:127.0.0.1:" in told
    assert "Dask" in launch.report["page"]
    launch.assert_nothing_left()


def test_busy_workers_end_with_the_driver(launch: Launch) -> None:
    process = launch.start("busy")
    launch.await_files("started-*", 2)
    start = time.monotonic()
    ended = launch.ended(process, 5 + BOUND_S)
    assert time.monotonic() - start < 5 + BOUND_S
    assert ended.returncode == 0, ended.stderr
    assert "stage linger" in launch.report["error"]
    launch.assert_nothing_left()


def test_the_exit_status_is_that_of_a_failing_driver(launch: Launch) -> None:
    ended = launch.run("failing")
    assert ended.returncode == 1
    assert ended.stderr.count("Traceback") == 1
    assert "RuntimeError: the driver has failed" in ended.stderr
    launch.assert_nothing_left()


def test_a_rank_of_another_environment_is_refused_with_the_difference(launch: Launch) -> None:
    found = launch.folder / "elsewhere" / "h5py-0.0.1.dist-info"
    found.mkdir(parents=True)
    (found / "METADATA").write_text("Metadata-Version: 2.1\nName: h5py\nVersion: 0.0.1\n")
    odd = launch.folder / "odd.sh"
    last = " || ".join(f'[ "${name}" = 3 ]' for name in RANK_VARIABLES)
    odd.write_text(f'if {last}; then export PYTHONPATH="{found.parent}:$PYTHONPATH"; fi\nexec "$@"\n')
    command = launch.command
    launch.command = lambda ranks: [*command(ranks), "bash", str(odd)]
    ended = launch.run("results")
    assert ended.returncode == 1
    assert re.search(r"the worker rank-3 on \S+ \(.*\) was refused.* h5py 0\.0\.1 instead of", ended.stderr)
    assert "Traceback" not in ended.stderr
    launch.assert_nothing_left()


def test_all_ranks_end_when_the_driver_is_killed(launch: Launch) -> None:
    process = launch.start("killed")
    launch.await_files("started-*", 2)
    os.kill(launch.report["driver"], signal.SIGKILL)
    ended = launch.ended(process, BOUND_S)
    assert ended.returncode not in (0, None)
    assert "Traceback" not in ended.stderr
    launch.assert_nothing_left()


def test_all_ranks_end_when_the_scheduler_is_killed(launch: Launch) -> None:
    process = launch.start("killed")
    launch.await_files("started-*", 2)
    launch.rank(0).kill()
    ended = launch.ended(process, BOUND_S)
    assert ended.returncode not in (0, None)
    assert "Traceback" not in ended.stderr
    launch.assert_nothing_left()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_when_all_ranks_are_told_to_stop_the_driver_drains_and_says_resume_me(
    launch: Launch, number: signal.Signals
) -> None:
    process = launch.start("stopped")
    launch.await_files("started-*", 4)
    launchers = ("srun", "mpirun", "orted")
    for member in launch.processes():
        if member.name() not in launchers:
            member.send_signal(number)
    ended = launch.ended(process, BOUND_S)
    assert ended.returncode == 75, ended.stderr
    assert f"stopped by {number.name}" in launch.report["error"]
    finished = len(list(launch.folder.glob("started-*")))
    assert f"; {finished} tasks of stage nap were finished." in launch.report["error"]
    launch.assert_nothing_left()


def test_ranks_end_with_a_driver_that_makes_no_executor(launch: Launch) -> None:
    ended = launch.run("unused")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", ""), ended.stderr
    launch.assert_nothing_left()


def test_a_second_executor_is_refused_with_the_remedy(launch: Launch) -> None:
    assert launch.run("twice").returncode == 0
    assert re.search("workers of this launch were ended.*start the program again", launch.report["error"])


def test_too_few_ranks_are_refused_with_the_number_needed(launch: Launch) -> None:
    ended = launch.run("results", ranks=2)
    assert ended.returncode == 1
    assert "this launch has 2 ranks, and at least 3 are needed" in ended.stderr
    assert "Traceback" not in ended.stderr
