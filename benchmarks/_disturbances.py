"""What clusters do to runs, done on purpose to one job of a run on the lab cluster."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from _lab_run import ROOT, LabRun
from _slurm import field, node_state, restarts, settled, slurm, wait_until

from hpc_mlsm.runtime.lock import LOCK_NAME
from hpc_mlsm.runtime.lock_holder import read_holder

LAB = ROOT / "slurm" / "lab" / "cluster.sh"
LEFT_S = 30
"""Time that a job is left whose limit is lowered; Slurm looks every half minute."""


@dataclass(frozen=True)
class Target:
    """The stage of a run that is in the middle of its work, and its job."""

    run: LabRun
    stage: str
    job: str
    executor: str


class NotThereError(RuntimeError):
    """A scenario has nothing to kill under this executor."""


def worker(target: Target) -> None:
    """SIGKILL to the worker that finished something last."""
    number = target.run.finished(target.stage)[-1].worker.rpartition(":")[2]
    if number.isdigit():
        os.kill(int(number), signal.SIGKILL)
        return
    # Training tells of rounds, not of who made them.
    if target.executor.startswith(("runner", "mpi")):
        nannies = [psutil.Process(rank(target, 2))]
    else:
        others = (one for one in processes(target.run) if one.environ().get("SLURM_JOB_ID", target.job) != target.job)
        nannies = [next(others)]
    killed = 0
    for child in (child for nanny in nannies for child in nanny.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()
                killed += 1
    if not killed:
        raise NotThereError(f"stage {target.stage} has no worker under executor {target.executor}")


def scheduler(target: Target) -> None:
    """SIGKILL to the process with the scheduler: rank 0 of a launch, otherwise the driver."""
    if target.executor.startswith(("runner", "mpi")):
        os.kill(rank(target, 0), signal.SIGKILL)
    else:
        driver(target)


def driver(target: Target) -> None:
    """SIGKILL to the process that holds the lock of the run."""
    holder = read_holder(target.run.run.path / LOCK_NAME)
    if holder is None:
        raise NotThereError("nobody holds the run")
    os.kill(holder.pid, signal.SIGKILL)


def slurmd(target: Target) -> None:
    """SIGKILL to the slurmd of the job's first node; started again once Slurm has noticed."""
    node = first_node(target.job)
    pid = int((Path(os.environ["SLURM_CONF"]).parent / f"slurmd.{node}.pid").read_text())
    if psutil.Process(pid).name() != "slurmd":
        raise NotThereError(f"process {pid} is no slurmd")
    os.kill(pid, signal.SIGKILL)
    try:
        wait_until(lambda: node_state(node).startswith("DOWN"), f"node {node} to be missed", 90)
    finally:
        subprocess.run(["bash", str(LAB), "start"], capture_output=True, timeout=180, check=True)


def slurmd_briefly(target: Target) -> None:
    """SIGKILL to the slurmd of the job's first node; started again at once."""
    node = first_node(target.job)
    pid = int((Path(os.environ["SLURM_CONF"]).parent / f"slurmd.{node}.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    subprocess.run(["bash", str(LAB), "start"], capture_output=True, timeout=180, check=True)


def node_down(target: Target) -> None:
    """Set the job's last node down, and resume it once the job has left it."""
    shown = slurm("scontrol", "show", "hostnames", field(target.job, "NodeList")).split()
    node, before = shown[-1], restarts(target.job)
    slurm("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    try:
        wait_until(lambda: settled(target.job, before), f"job {target.job} to leave node {node}", 60)
    finally:
        slurm("scontrol", "update", f"nodename={node}", "state=resume", check=False)  # it may be back by itself


def usr1(target: Target) -> None:
    """The signal that a batch system sends before the walltime, sent by hand."""
    slurm("scancel", "--signal=USR1", "--batch", target.job)


def walltime(target: Target) -> None:
    """Lower the limit of the running job to the next minutes: Slurm sends its signal, and the job comes back."""
    hours, minutes, seconds = map(int, field(target.job, "RunTime").split(":"))
    limit = (3600 * hours + 60 * minutes + seconds + LEFT_S) // 60 + 1
    slurm("scontrol", "update", f"jobid={target.job}", f"timelimit={limit}")


def preempted(target: Target) -> None:
    """A job of a more urgent partition takes all nodes; the run's job comes back once it has ended."""
    before = restarts(target.job)
    command = ("sbatch", "--parsable", "--partition=urgent", "--nodes=3", "--exclusive", "--output=/dev/null")
    urgent = slurm(*command, "--wrap=sleep 5").strip()
    wait_until(lambda: settled(target.job, before), f"job {target.job} to make room", 120)
    wait_until(lambda: field(urgent, "JobState") == "COMPLETED", f"job {urgent} to end", 120)


def first_node(job: str) -> str:
    """The node that the job's script runs on."""
    return field(job, "BatchHost")


def rank(target: Target, number: int) -> int:
    """Process id of a rank of the job's launch."""
    for process in processes(target.run):
        with suppress(psutil.Error, OSError):
            words, variables = process.cmdline(), process.environ()
            own = variables.get("OMPI_COMM_WORLD_RANK", variables.get("SLURM_PROCID"))
            launched = "OMPI_COMM_WORLD_RANK" in variables or target.executor.startswith("runner")
            is_rank = launched and own == str(number) and variables.get("SLURM_JOB_ID") == target.job
            parent = process.parent()
            above = parent.cmdline() if parent else []
            if is_rank and "hpc_mlsm.cli.main" in words and "hpc_mlsm.cli.main" not in above and "srun" not in words[0]:
                return process.pid
    raise NotThereError(f"no process of job {target.job} is rank {number}")


def processes(run: LabRun) -> Iterator[psutil.Process]:
    """Processes of a run's jobs, which know where its notes go; other clusters on this machine have equal job ids."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get("HPC_MLSM_RECORD") == str(run.record):
                yield process


@contextmanager
def small_disk(place: Path, kib: int) -> Iterator[Callable[[int], None]]:
    """A file system of so many KiB; gives a function that changes its size."""
    place.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotThereError(f"a small file system cannot be mounted here: {done.stderr.strip()}")

    def resize(new_kib: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={new_kib}k", str(place)], check=True, capture_output=True)

    try:
        yield resize
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


DISTURBANCES: dict[str, Callable[[Target], None]] = {
    "worker": worker,
    "scheduler": scheduler,
    "driver": driver,
    "slurmd": slurmd,
    "slurmd-briefly": slurmd_briefly,
    "node-down": node_down,
    "usr1": usr1,
    "walltime": walltime,
    "preempted": preempted,
}
"""Those that are done to a running job, by name."""
