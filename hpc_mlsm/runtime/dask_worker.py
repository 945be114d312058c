"""What every Dask worker process is made to be: one thread a library, deaf to Ctrl-C, quiet."""

import os
import signal
import tempfile
from pathlib import Path
from typing import Any

from dask.distributed import WorkerPlugin

from hpc_mlsm.runtime.dask_logs import quieten

_THREAD_COUNTS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
ONE_THREAD = dict.fromkeys(_THREAD_COUNTS, "1")
"""Environment of a worker: tasks are many, so each of them uses one thread."""


class WorkerSetup(WorkerPlugin):
    """Prepares a worker process before its first task."""

    name = "hpc-mlsm-worker-setup"

    def setup(self, worker: Any) -> None:
        """Called by Dask in the worker's main thread."""
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        quieten()
        # The environment is too late for a library that the program's main module imported.
        threadpool_limits(1)
        # A terminal sends Ctrl-C to workers too, but running tasks shall finish: the driver decides.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def numba_cache(scratch: Path) -> Path:
    """Folder on this node for numba's compiled code, shared by all runs of this user so that it is made once a node.

    Code is loaded from it, so it must be the user's own and closed to others; where another user took the name, it is
    a folder in ``scratch`` that lasts as long as the run.
    """
    folder = Path(tempfile.gettempdir()) / f"hpc_mlsm-numba-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return scratch / "numba"
    private = folder.is_dir() and not folder.is_symlink() and found.st_mode & 0o077 == 0
    return folder if private and found.st_uid == os.getuid() else scratch / "numba"
