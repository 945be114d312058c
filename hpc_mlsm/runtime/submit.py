"""Submitting a chain of jobs, each of which starts when the one before has succeeded, and asking what became of it."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hpc_mlsm.errors import ExecutorError, RunError
from hpc_mlsm.runtime.sbatch import JobScript, render_script
from hpc_mlsm.runtime.slurm_jobs import COMMAND_TIMEOUT_S, refusal

JOBS_FILE = "jobs.json"
ENDED = "ENDED"
"""State of a job that the queue has forgotten."""

UNKNOWN = "UNKNOWN"
"""State of a job where the queue does not answer."""

_STATES = ("squeue", "--me", "--states=all", "--noheader", "--format=%i|%T|%R|%o")

LIVE_STATES = frozenset(
    {
        "PENDING",
        "CONFIGURING",
        "RUNNING",
        "COMPLETING",
        "SUSPENDED",
        "REQUEUED",
        "REQUEUE_HOLD",
        "SIGNALING",
        "STAGE_OUT",
    }
)


@dataclass(frozen=True)
class SubmittedJob:
    """A job of a run, as ``jobs.json`` keeps it."""

    stage: str
    job_id: str
    script: str
    log: str


@dataclass(frozen=True)
class JobState:
    """What the queue says of a job: its state, and why it waits or on which nodes it is."""

    job: SubmittedJob
    state: str
    detail: str = ""

    @property
    def live(self) -> bool:
        """Whether the job runs or may still run."""
        return self.state in LIVE_STATES


def submit_chain(jobs: Sequence[JobScript]) -> list[SubmittedJob]:
    """Write and submit the scripts, each to run after the one before has succeeded.

    When a stage fails, those after it leave the queue. The numbers of the jobs are kept in the run directory.

    Raises
    ------
    ExecutorError
        If sbatch is missing or refuses a script; with its message and the line that caused it. Jobs that were
        submitted before it are cancelled.
    RunError
        If the run directory cannot be written.
    """
    run = jobs[0].run
    for job in jobs:
        write_whole(job.path, render_script(job))
        job.logs.mkdir(exist_ok=True)
    submitted: list[SubmittedJob] = []
    try:
        for job in jobs:
            after = submitted[-1].job_id if submitted else None
            number = sbatch(job, after)
            submitted.append(SubmittedJob(job.stage, number, str(job.path), str(job.log(number))))
            write_whole(run / JOBS_FILE, json.dumps([asdict(one) for one in submitted], indent=1))
    except (ExecutorError, RunError) as error:
        if not submitted:
            raise
        numbers = [one.job_id for one in submitted]
        slurm_command(["scancel", *numbers])
        raise ExecutorError(f"{error}. The jobs submitted before it ({', '.join(numbers)}) were cancelled") from error
    return submitted


def read_jobs(run: Path) -> list[SubmittedJob]:
    """The jobs of the last chain that was submitted for a run; empty where there was none."""
    try:
        return [SubmittedJob(**row) for row in json.loads((run / JOBS_FILE).read_text())]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{run / JOBS_FILE} cannot be read: {error}; remove it, its jobs stay in the queue") from error


def job_states(jobs: Sequence[SubmittedJob]) -> list[JobState]:
    """What the queue says of each job; unknown where there is no queue, or it does not answer."""
    # Asking for numbers that the queue has forgotten is an error to squeue, so it is asked for all of the user's.
    try:
        answer = slurm_command(list(_STATES)) if jobs else None
    except ExecutorError as error:
        return [JobState(job, UNKNOWN, str(error)) for job in jobs]
    if answer is None or answer.returncode:
        return [JobState(job, UNKNOWN, answer.stderr.strip() if answer else "") for job in jobs]
    # A cluster that was set up anew counts from 1 again, hence the script beside the number.
    rows = {
        (row[0], row[3]): row[1:3] for row in (line.split("|", 3) for line in answer.stdout.splitlines()) if row[3:]
    }
    return [JobState(job, *rows.get((job.job_id, job.script), (ENDED, ""))) for job in jobs]


def refuse_live_jobs(run: Path) -> None:
    """Raise RunError where jobs that were submitted for a run are still in the queue."""
    live = [one for one in job_states(read_jobs(run)) if one.live]
    if live:
        words = ", ".join(f"{one.job.job_id} ({one.job.stage}, {one.state.lower()})" for one in live)
        numbers = " ".join(one.job.job_id for one in live)
        raise RunError(
            f"jobs of the run {run} are still in the queue: {words}. Wait for them, or cancel them with: "
            f"scancel {numbers}"
        )


def write_whole(path: Path, text: str) -> None:
    """Write a file that appears at once and complete; its folder is made where missing.

    Raises
    ------
    RunError
        If it cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text)
        os.replace(part, path)
    except OSError as error:
        raise RunError(
            f"{path} cannot be written: {error.strerror or error}. The run directory must be writable and have space"
        ) from error


def sbatch(job: JobScript, after: str | None = None) -> str:
    """Submit a script that is in its place already, to run after another job has succeeded; returns its number.

    Raises
    ------
    ExecutorError
        If sbatch is missing or refuses; with its message and the line that caused it.
    """
    words = ["--parsable"]
    if after is not None:
        words += [f"--dependency=afterok:{after}", "--kill-on-invalid-dep=yes"]
    answer = slurm_command(["sbatch", *words, str(job.path)])
    number = answer.stdout.strip().partition(";")[0]
    if answer.returncode or not number.isdigit():
        raise ExecutorError(f"sbatch refused {job.path}: {_why(answer, job.path.read_text())}")
    return number


def would_start(job: JobScript) -> str:
    """What ``sbatch --test-only`` says of a script, which it does not submit: when and where it would start.

    Raises
    ------
    ExecutorError
        If sbatch is missing or would refuse; with its message and the line that caused it.
    """
    script = render_script(job)
    answer = slurm_command(["sbatch", "--test-only"], script)
    if answer.returncode:
        raise ExecutorError(_why(answer, script))
    lines = [line.removeprefix("sbatch: ").strip() for line in answer.stderr.splitlines()]
    return next((line for line in lines if "to start at" in line), "taken")


def _why(answer: "subprocess.CompletedProcess[str]", script: str) -> str:
    said = answer.stderr.strip() or answer.stdout.strip() or f"exit status {answer.returncode}"
    return refusal(ExecutorError(said), script)


def slurm_command(words: list[str], told: str | None = None) -> "subprocess.CompletedProcess[str]":
    """One of Slurm's commands, in bounded time; ``told`` is its standard input.

    Raises
    ------
    ExecutorError
        If it is not there, or does not answer.
    """
    try:
        return subprocess.run(words, input=told, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)
    except FileNotFoundError as error:
        raise ExecutorError(
            f"{words[0]} is not on this machine; submit from a login node of the cluster, or see the scripts with "
            "--dry-run"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ExecutorError(
            f"{words[0]} did not answer within {COMMAND_TIMEOUT_S:.0f} s; Slurm may be busy: try again later"
        ) from error
