"""Which executor, and how large: the part of a configuration that does not change any result."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Le


@dataclass(frozen=True)
class ExecutorSettings:
    """How tasks are run.

    Parameters
    ----------
    kind : str
        ``inline`` runs tasks in this process, ``local`` on worker processes of this machine.
    workers : int or None
        Worker processes; None takes every core that this process may use.
    memory_per_worker_mb : int or None
        A worker that grows beyond this (MB, 10⁶ bytes) is ended and its task retried; None shares out what there is.
    retries : int
        How often a task is given another worker after its worker died.
    grace_s : float
        How long running tasks may take to finish when the run is told to stop; below the batch system's notice.
    scratch : Path or None
        Folder on a disk of this node for the workers' temporary files; None takes the system's (``TMPDIR``).
    """

    kind: Literal["inline", "local"] = "local"
    workers: Annotated[int, Ge(1), Le(100_000)] | None = None
    memory_per_worker_mb: Annotated[int, Ge(256)] | None = None
    retries: Annotated[int, Ge(0), Le(100)] = 2
    grace_s: Annotated[float, Ge(0)] = 30.0
    scratch: Path | None = None
