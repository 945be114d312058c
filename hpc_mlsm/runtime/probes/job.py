"""The short job that looks at compute nodes: submitted, waited for in bounded time, and cleared away."""

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.probes.finding import Finding, from_plain
from hpc_mlsm.runtime.sbatch import JobScript, render_probe
from hpc_mlsm.runtime.slurm_jobs import HOPELESS
from hpc_mlsm.runtime.submit import sbatch, slurm_command, write_whole

POLL_S = 1.0
RUNTIME_S = 300.0
"""How long the job may take once it runs."""

LATE_FILES_S = 15.0
"""How long files of a job that has ended may take to be seen here."""


@dataclass(frozen=True)
class Ended:
    """What became of a probe's job: findings of its nodes, and of what kept it from telling."""

    job_id: str
    findings: list[Finding]


def run_probe(job: JobScript, launch: Sequence[str], where: str, wait_s: float, say: Callable[[str], None]) -> Ended:
    """Submit the job, wait until its nodes have told, and remove it from the queue.

    Parameters
    ----------
    job
        Its run directory is the probe's folder.
    launch
        What starts two ranks, if any.
    where
        Words for the kind of nodes.
    wait_s
        How long it may wait in the queue.
    say
        Told of the job's number, and why it waits.
    """
    write_whole(job.path, render_probe(job, launch))
    job.logs.mkdir(exist_ok=True)
    try:
        number = sbatch(job)
    except ExecutorError as error:
        return Ended("", [Finding("probe job", where, "failure", str(error), "change this line's key in the profile")])
    say(f"{where}: probe is job {number}")
    try:
        problem = _wait(job, number, where, wait_s, say)
    finally:
        with contextlib.suppress(ExecutorError):
            slurm_command(["scancel", number])
    findings = [one for path in sorted(job.run.glob("node-*.json")) for one in from_plain(json.loads(path.read_text()))]
    told = len(list(job.run.glob("node-*.json")))
    if problem is None and told < job.nodes:
        problem = _silent(job, number, where, told)
    return Ended(number, [*findings, *([problem] if problem else [])])


def _wait(job: JobScript, number: str, where: str, wait_s: float, say: Callable[[str], None]) -> Finding | None:
    """Wait for the end of the job; what is wrong where it does not come."""
    start, began, told, gone = time.monotonic(), None, "", None
    while not (job.run / "done").exists():
        state, reason = _state(number)
        now = time.monotonic()
        if state == "PENDING":
            if reason in HOPELESS:
                asked = [line for line in job.path.read_text().splitlines() if line.startswith("#SBATCH")]
                words = f"Slurm will never start it ({reason}); it asks for {', '.join(asked)}"
                return Finding("probe job", where, "failure", words, "change partition:, account:, qos: or constraint:")
            if now - start > wait_s:
                words = f"job {number} waited {wait_s:.0f} s in the queue ({reason}) and was taken back"
                return Finding(
                    "probe job", where, "failure", words, "wait longer with --wait SECONDS, or try again later"
                )
            if reason != told and reason not in ("None", ""):
                told = reason
                say(f"{where}: job {number} waits in the queue: {reason}")
        elif state in ("", "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"):
            gone = gone or now
            if now - gone > LATE_FILES_S:
                return None
        else:
            began = began or now
            if now - began > RUNTIME_S:
                words = f"job {number} ran for {RUNTIME_S:.0f} s and did not end"
                return Finding("probe job", where, "failure", words + _log(job, number), "see what hangs")
        time.sleep(POLL_S)
    return None


def _state(number: str) -> tuple[str, str]:
    """State of a job, and why it waits; empty where the queue has forgotten it."""
    try:
        answer = slurm_command(["squeue", "--noheader", "--states=all", f"--jobs={number}", "--format=%T|%r"])
    except ExecutorError:
        return "UNKNOWN", ""
    state, _, reason = answer.stdout.strip().partition("|")
    return state, reason


def _silent(job: JobScript, number: str, where: str, told: int) -> Finding:
    failed = job.run / "failed"
    if failed.exists():
        words = failed.read_text().strip() + _log(job, number)
        return Finding("environment of jobs", where, "failure", words, "mend modules: or activate: of the profile")
    words = f"{told} of {job.nodes} nodes told what they found" + _log(job, number)
    remedy = "nodes must share the folder (--run), and the program must start there (activate:)"
    return Finding("probe job", where, "failure", words, remedy)


def _log(job: JobScript, number: str) -> str:
    try:
        lines = job.log(number).read_text(errors="replace").strip().splitlines()
    except OSError:
        return f"; it left no log, expected is {job.log(number)}"
    lines = [line for line in lines if "CANCELLED" not in line]
    return f"; its log ends with: {' / '.join(lines[-4:])}" if lines else ""
