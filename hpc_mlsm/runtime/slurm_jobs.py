"""What the Slurm executor asks of Slurm's own commands, and what it makes of their answers."""

import os
import re
import subprocess
import time
from collections.abc import Iterable
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
