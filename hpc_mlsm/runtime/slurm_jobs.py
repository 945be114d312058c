"""What the Slurm executor asks of Slurm's own commands, and what it makes of their answers."""

import functools
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

COMMAND_TIMEOUT_S = 60.0
"""How long a command may take; the controller of a busy cluster answers slowly."""

QUEUE = ("squeue", "--noheader", f"--user={os.getuid()}", "--format=%A %r")

HOPELESS = frozenset(
    {
        "AccountNotAllowed",
        "BadConstraints",
        "InvalidAccount",
        "InvalidQOS",
        "PartitionConfig",
        "PartitionNodeLimit",
        "PartitionTimeLimit",
        "QOSNotAllowed",
    }
)
"""Why Slurm lets jobs wait that can never start as they are."""

ENDED = frozenset(
    {
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "REVOKED",
        "TIMEOUT",
    }
)
"""States of jobs that run no more, nor will."""

TAKEN_AWAY = frozenset(
    {"BOOT_FAIL", "CANCELLED", "COMPLETING", "DEADLINE", "NODE_FAIL", "PENDING", "PREEMPTED", "REVOKED", "TIMEOUT"}
)
"""States of jobs that were ended by others, or by time, rather than by what they did."""

_LINES = (
    (r"partition", r"-p |--partition"),
    (r"account|association|bank", r"-A |--account"),
    (r"time limit|TimeLimit|walltime", r"-t |--time"),
    (r"memory", r"--mem"),
    (r"qos", r"--qos|-q "),
    (r"constraint|feature", r"--constraint|-C "),
    (r"node configuration|cpu", r"--cpus-per-task|--mem|-n |-N |--nodes|--gres|--gpus"),
    (r"gres|generic resource", r"--gres|--gpus"),
)
"""What a refusal speaks of, and what the lines look like that ask for it."""

_NOISE = re.compile(r"^sbatch: (error: )?")
_UNKNOWN_OPTION = re.compile(r"(?:unrecognized|invalid) option (?:-- )?'?(-{0,2}[\w-]+)")


def queued_jobs() -> dict[str, str] | None:
    """This user's jobs that wait, run or are ending, by id, and why they wait; None when Slurm does not answer."""
    try:
        answer = subprocess.run(QUEUE, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return {job: reason for job, _, reason in (line.partition(" ") for line in answer.stdout.splitlines())}


@dataclass(frozen=True)
class JobState:
    """What Slurm says of a job: its state, such as ``RUNNING``, why, its exit code, and its nodes."""

    state: str
    reason: str = ""
    exit_code: str = ""
    nodes: str = ""

    @property
    def taken_away(self) -> bool:
        """Whether the job ends, or has ended, for a reason that lies outside it."""
        return self.state in TAKEN_AWAY

    def __str__(self) -> str:
        code = f", exit code {self.exit_code}" if self.exit_code not in ("", "0:0") else ""
        reason = f", reason {self.reason}" if self.reason not in ("", "None") else ""
        return f"{self.state}{reason}{code}" + (f", on {self.nodes}" if self.nodes else "")


def job_state(job_id: str) -> JobState | None:
    """A job as Slurm knows it, also for some minutes after its end; None when Slurm does not answer or forgot it."""
    answer = _ask("scontrol", "--oneliner", "show", "job", job_id)
    if answer is None or answer.returncode:
        return None
    found = (re.search(rf" {key}=(\S*)", answer.stdout) for key in ("JobState", "Reason", "ExitCode", "NodeList"))
    return JobState(*(match[1] if match and match[1] != "(null)" else "" for match in found))


def surely_ended(job_id: str, cluster: str = "") -> bool:
    """True when this cluster's Slurm answers that it has no such job any more, and the job is one of this cluster's."""
    if not cluster or cluster != own_cluster() or not job_id.isdigit():
        return False
    answer = _ask("squeue", "--noheader", "--states=all", f"--jobs={job_id}", "--format=%T")
    if answer is None:
        return False
    if answer.returncode:
        # Slurm forgets a job some minutes after its end; any other refusal says nothing.
        return "Invalid job id" in answer.stderr
    states = set(answer.stdout.split())
    return bool(states) and states <= ENDED


@functools.cache
def own_cluster() -> str:
    """Name of the Slurm cluster that commands here talk to; empty where there is none or it does not answer."""
    if name := os.environ.get("SLURM_CLUSTER_NAME"):
        return name
    answer = _ask("scontrol", "show", "config") if shutil.which("scontrol") else None
    found = re.search(r"^ClusterName\s*=\s*(\S+)", answer.stdout, re.MULTILINE) if answer else None
    return found[1] if found else ""


@functools.cache
def job_end() -> float | None:
    """When the Slurm job that this process is in will be ended, as ``time.time`` counts; None where that is not known.

    It is asked once: time that is given to a running job later does not count.
    """
    job_id = os.environ.get("SLURM_JOB_ID", "")
    if not job_id:
        return None
    told = os.environ.get("SLURM_JOB_END_TIME", "")
    if told.isdigit():
        return float(told)
    answer = _ask("squeue", "--noheader", f"--jobs={job_id}", "--format=%e")
    try:
        return datetime.fromisoformat(answer.stdout.strip()).timestamp() if answer else None
    except ValueError:
        # A job without a limit has no end.
        return None


def _ask(*command: str) -> "subprocess.CompletedProcess[str] | None":
    """What one of Slurm's commands says; None when it is not there or does not answer."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return None


def cancel_jobs(job_ids: Iterable[str], *, patience_s: float) -> bool:
    """Cancel jobs and wait until they have left the queue; False when some have not within ``patience_s``."""
    left = set(job_ids)
    deadline = time.monotonic() + patience_s
    if left:
        try:
            subprocess.run(["scancel", *sorted(left)], capture_output=True, timeout=COMMAND_TIMEOUT_S, check=False)
        except (OSError, subprocess.SubprocessError):
            return False
    while left and time.monotonic() < deadline:
        queued = queued_jobs()
        left = left if queued is None else left & queued.keys()
        time.sleep(0.2 if left else 0)
    return not left


def refusal(error: Exception, script: str) -> str:
    """What sbatch said, with the lines of the job script that it is about."""
    text = str(error)
    said = text.rpartition("stderr:\n")[2].strip() or text
    message = "; ".join(_NOISE.sub("", line) for line in said.splitlines() if line.strip())
    lines = list(dict.fromkeys(_blamed(message, script)))
    return message + (f". In the job script: {', '.join(lines)}" if lines else "")


def last_lines(folder: Path, job_ids: Iterable[str], count: int = 5) -> str:
    """The end of the newest log that one of the jobs wrote, with its name; empty where there is none."""
    logs = [path for job in job_ids for path in folder.glob(f"*-{job}.*") if path.stat().st_size]
    if not logs:
        return ""
    newest = max(logs, key=lambda path: path.stat().st_mtime)
    lines = newest.read_text(errors="replace").strip().splitlines()[-count:]
    return f"{newest} ends with:\n" + "\n".join(lines)


def _blamed(message: str, script: str) -> Iterable[str]:
    asked = [line for line in script.splitlines() if line.startswith("#SBATCH")]
    if option := _UNKNOWN_OPTION.search(message):
        yield from (line for line in asked if option[1].strip("-") in line)
    for subject, pattern in _LINES:
        if re.search(subject, message, re.IGNORECASE):
            yield from (line for line in asked if re.search(pattern, line))
