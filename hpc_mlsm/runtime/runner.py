"""The start of an executor inside one Slurm allocation: the tasks of an ``srun`` become scheduler, driver and workers.

They meet over a file in a folder that all nodes see, as with dask-jobqueue's SLURMRunner. That one cannot end over TLS,
writes its file in the open and in place, and its ranks wait for ever for a driver that died.
"""

import json
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from dask.distributed import Security

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.launched import join
from hpc_mlsm.runtime.local import START_TIMEOUT_S
from hpc_mlsm.runtime.meeting import Contact, Place
from hpc_mlsm.runtime.security import load_security, make_security
from hpc_mlsm.runtime.settings import ExecutorSettings

_NEEDED = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_STEP_TASKS_PER_NODE")
_HOW = "srun --ntasks=4 hpc-mlsm …"


class SlurmMeeting:
    """Tasks of one job step that meet over a connection file and certificate, readable by their owner only.

    Parameters
    ----------
    folder : Path
        A folder on a file system that all nodes of the allocation share.

    Raises
    ------
    ExecutorError
        If this process was not started by ``srun``.
    """

    def __init__(self, folder: Path) -> None:
        missing = [name for name in _NEEDED if not os.environ.get(name)]
        if missing:
            raise ExecutorError(
                f"this process is no task of a Slurm job step ({missing[0]} is not set): start it by {_HOW}"
            )
        counts = tasks_per_node(os.environ["SLURM_STEP_TASKS_PER_NODE"])
        node = int(os.environ.get("SLURM_NODEID", "0"))
        self.place = Place(
            int(os.environ["SLURM_PROCID"]),
            int(os.environ["SLURM_STEP_NUM_TASKS"]),
            counts[node] if node < len(counts) else max(counts),
        )
        # A requeued job has its number and the numbers of its steps again.
        restart = os.environ.get("SLURM_RESTART_COUNT", "0")
        step = f"{os.environ['SLURM_JOB_ID']}.{os.environ['SLURM_STEP_ID']}"
        self.folder = folder / f"launch-{step}-{restart}"
        self._path = self.folder / "scheduler.json"

    def announce(self, contact: Contact) -> None:
        """Write the connection file, which appears at once and complete."""
        # Made with mode 0600.
        handle, name = tempfile.mkstemp(dir=self.folder)
        with os.fdopen(handle, "w") as file:
            json.dump({"address": contact.address}, file)
        os.replace(name, self._path)

    def learn(self) -> Contact:
        """Wait for the connection file, and read it."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._path.exists():
            if time.monotonic() > deadline:
                raise ExecutorError(
                    f"rank {self.place.rank} found no {self._path} within {START_TIMEOUT_S:g} s: the scheduler's rank "
                    "did not start, or its node writes to another disk. The folder must be on a shared file system"
                )
            # NFS shows a new name only once its folder is looked at again.
            with suppress(OSError):
                os.listdir(self.folder)
            time.sleep(0.1)
        return Contact(json.loads(self._path.read_text())["address"], load_security(self.folder))

    def security(self) -> Security:
        """A certificate for this launch, in files of its folder."""
        return make_security(self.folder)

    def forget(self) -> None:
        """Remove the folder with the connection file and the certificate."""
        shutil.rmtree(self.folder, ignore_errors=True)


def join_runner(settings: ExecutorSettings, folder: Path) -> None:
    """Take this task's place in the launch by ``srun``; see ``join``."""
    join(SlurmMeeting(folder), settings, _HOW)


def tasks_per_node(text: str) -> list[int]:
    """Slurm's list of counts: ``2(x3),1`` is 2, 2, 2, 1."""
    counts: list[int] = []
    for part in text.split(","):
        count, _, times = part.partition("(x")
        counts += [int(count)] * int(times.rstrip(")") or 1)
    return counts
