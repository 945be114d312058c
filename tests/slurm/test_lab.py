"""The lab: a real Slurm cluster that starts, stops and may be told so twice."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from slurm_lab import CLUSTER, cluster, require_programs

PID_FILES = ("munge/munged.pid", "slurmctld.pid", "slurmd.n1.pid", "slurmd.n2.pid", "slurmd.n3.pid")


def free_ports() -> int:
    """The first of four ports in a row that nobody listens on."""
    for port in range(21_000, 30_000, 7):
        with socket.socket() as probe:
            if all(probe.connect_ex(("127.0.0.1", port + offset)) for offset in range(4)):
                return port
    raise AssertionError("no free ports")


@pytest.fixture
def env(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a lab of this test's own."""
    require_programs()
    # Not below tmp_path: munged refuses folders that others than root and it may write, and long socket names.
    folder = Path("/tmp") / f"hpc_mlsm-lab-test-{os.getpid()}"
    made = {**os.environ, "HPC_MLSM_LAB": str(folder), "HPC_MLSM_LAB_PORT": str(free_ports())}
    yield {**made, "SLURM_CONF": str(folder / "slurm.conf")}
    cluster("stop", made)
    subprocess.run(["rm", "-rf", str(folder)], check=True)


def pids(env: dict[str, str]) -> list[int]:
    return [int((Path(env["HPC_MLSM_LAB"]) / name).read_text()) for name in PID_FILES]


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def ask(env: dict[str, str], *command: str) -> str:
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.slurm
def test_it_starts_three_nodes_and_a_second_start_changes_nothing(env: dict[str, str]) -> None:
    assert cluster("status", env, check=False).returncode == 3
    cluster("start", env)
    before = pids(env)
    shown = ask(env, "sinfo", "-h", "-N", "-p", "batch", "-o", "%N %T")
    assert shown.split() == ["n1", "idle", "n2", "idle", "n3", "idle"]
    cluster("start", env)
    assert pids(env) == before
    assert "n3 idle" in cluster("status", env).stdout


@pytest.mark.slurm
def test_it_stops_with_its_jobs_and_a_second_stop_changes_nothing(env: dict[str, str]) -> None:
    cluster("start", env)
    daemons = pids(env)
    ask(env, "sbatch", "--output=/dev/null", "--wrap", "sleep 987")
    while "RUNNING" not in ask(env, "squeue", "-h", "-o", "%T"):
        time.sleep(0.1)
    cluster("stop", env)
    assert not any(alive(pid) for pid in daemons)
    assert not any(process.info["cmdline"] == ["sleep", "987"] for process in psutil.process_iter(["cmdline"]))
    cluster("stop", env)
    cluster("start", env)
    assert ask(env, "squeue", "-h") == ""


@pytest.mark.slurm
def test_a_start_brings_back_what_was_killed_and_keeps_the_jobs(env: dict[str, str]) -> None:
    cluster("start", env)
    before = pids(env)
    job = ask(env, "sbatch", "--parsable", "--output=/dev/null", "--wrap", "sleep 60").strip()
    # The controller writes down what it knows every few seconds, and knows no more than that after it was killed.
    state = Path(env["HPC_MLSM_LAB"]) / "state" / "job_state"
    while not (state.exists() and b"sleep 60" in state.read_bytes()):
        time.sleep(0.2)
    for lost in (1, 3):
        os.kill(before[lost], signal.SIGKILL)
    assert cluster("status", env, check=False).returncode == 3
    ask(env, "bash", str(CLUSTER), "start")
    after = pids(env)
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True, False, True]
    assert ask(env, "squeue", "-h", "-o", "%A").split() == [job]


@pytest.mark.slurm
def test_it_listens_on_loopback_only(env: dict[str, str]) -> None:
    cluster("start", env)
    listening = [
        connection.laddr.ip
        for pid in pids(env)
        for connection in psutil.Process(pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) == 4
    assert set(listening) == {"127.0.0.1"}


def test_a_word_it_does_not_know_shows_how_it_is_used() -> None:
    done = cluster("begin", check=False)
    assert done.returncode == 2
    assert "install|start|stop|status|env" in done.stderr
