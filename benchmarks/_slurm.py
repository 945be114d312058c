"""What the benchmarks on a Slurm cluster ask of its commands."""

import subprocess
import time
from collections.abc import Callable

ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"})
PATIENCE_S = 1800.0
"""How long anything may take on a machine with other things to do."""

REQUEUE_S = 6.0
"""A node refuses a job that it has requeued only just now."""


def slurm(*words: str, check: bool = True) -> str:
    """What a command of Slurm's prints."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def field(job: str, name: str) -> str:
    """What the cluster says of a job, such as its ``JobState``; empty where it has forgotten it."""
    shown = slurm("scontrol", "-o", "show", "job", job, check=False)
    return next((word.partition("=")[2] for word in shown.split() if word.startswith(f"{name}=")), "")


def restarts(job: str) -> int:
    """How often a job was put back into the queue."""
    return int(field(job, "Restarts") or 0)


def outcome(job: str) -> str:
    """A job's state and exit status, such as ``FAILED 137``."""
    status, _, number = field(job, "ExitCode").partition(":")
    return f"{field(job, 'JobState')} {status}" + (f" signal {number}" if number not in ("", "0") else "")


def wait_until(condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait, and raise RuntimeError where it takes too long."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {patience_s:.0f} s for {what}")
        time.sleep(0.2)


def wait_for_end(job: str, patience_s: float = PATIENCE_S) -> None:
    """Wait until a job has ended; one that was put back into the queue is let start early."""
    deadline, begun, look = time.monotonic() + patience_s, restarts(job), 0.0
    while field(job, "JobState") not in ENDED:
        now = time.monotonic()
        if now > deadline:
            raise RuntimeError(f"job {job} is {field(job, 'JobState')} after {patience_s:.0f} s")
        if restarts(job) > begun or field(job, "Reason") == "BeginTime":
            look = look or now
            if now - look > REQUEUE_S:
                slurm("scontrol", "update", f"jobid={job}", "starttime=now", check=False)
                begun, look = restarts(job), 0.0
        time.sleep(0.3)


def settled(job: str, before: int) -> bool:
    """Whether a job has ended or was put back into the queue since it had been so ``before`` times."""
    return field(job, "JobState") in ENDED or restarts(job) > before


def drop_jobs(*jobs: str) -> None:
    """Cancel jobs and wait until they have ended."""
    if jobs:
        slurm("scancel", *jobs, check=False)
        wait_until(lambda: all(field(job, "JobState") in ENDED | {""} for job in jobs), f"the end of jobs {jobs}", 60)


def node_state(node: str) -> str:
    """State of a node, such as ``DOWN``."""
    shown = slurm("scontrol", "-o", "show", "node", node).split()
    return next(word.partition("=")[2] for word in shown if word.startswith("State="))
