"""Who holds the lock of a run directory, as its lock file says."""

import getpass
import json
import os
import platform
import sys
import uuid
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

from hpc_mlsm.runtime.slurm_jobs import own_cluster


@dataclass(frozen=True)
class Holder:
    """Who holds a lock; ``started`` tells the process from later ones with the same pid, see ``process_start``.

    In a Slurm job, ``job`` is its id, ``restart`` how often it was requeued before, and ``cluster`` where it runs.
    """

    host: str
    pid: int
    started: str
    user: str
    command: str
    token: str
    job: str = ""
    restart: int = 0
    cluster: str = ""

    @classmethod
    def this_process(cls) -> Self:
        """The holder that this process would be."""
        pid = os.getpid()
        command = " ".join(Path(word).name if index == 0 else word for index, word in enumerate(sys.argv))
        job, restart = os.environ.get("SLURM_JOB_ID", ""), os.environ.get("SLURM_RESTART_COUNT", "")
        return cls(
            platform.node(),
            pid,
            process_start(pid) or "",
            _user(),
            command,
            uuid.uuid4().hex,
            job,
            int(restart) if restart.isdigit() else 0,
            own_cluster() if job else "",
        )

    def __str__(self) -> str:
        job = f" in Slurm job {self.job}" if self.job else ""
        return f"process {self.pid} of {self.user} on {self.host}{job} ({self.command})"

    def precedes(self, other: "Holder") -> bool:
        """Whether this is an earlier start of the same Slurm job, which has ended for the other to start."""
        same = bool(self.job) and (self.job, self.cluster) == (other.job, other.cluster)
        return same and self.restart < other.restart


def read_holder(path: Path) -> Holder | None:
    """Who holds the lock at ``path``; None when there is no lock or it cannot be understood."""
    known = {item.name for item in fields(Holder)}
    try:
        # A later version may say more.
        return Holder(**{key: value for key, value in json.loads(path.read_text()).items() if key in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def process_start(pid: int) -> str | None:
    """When a process of this host was started: which boot, and the clock tick in it. None when there is none.

    Not in seconds, as psutil has it: these shift when the clock is set, and a live process would look like another.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # proc_pid_stat(5): the name in parentheses may hold spaces; state and start time are fields 3 and 22.
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state == "Z" else f"{boot}:{rest[18]}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
