"""A refinement that one frame kills, as a bug in a compiled library would; importable by workers."""

import os
import signal

import numpy as np

from hpc_mlsm.refinement.series import read_series
from hpc_mlsm.stages.refine_tasks import RefineTask, refine_task

DEADLY = 7777.0
"""A value that a frame dies of."""


def refine_or_die(task: RefineTask) -> int:
    """Refine the frames of a task, unless one is deadly."""
    if task.what == "chain":
        values = read_series(task.series, task.first * task.length, task.last * task.length).values
        if np.any(values == DEADLY):
            os.kill(os.getpid(), signal.SIGSEGV)
    return refine_task(task)
