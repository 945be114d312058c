"""Whether a task will finish before the Slurm job that this process is in ends: one that will not is not started."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Generic

from hpc_mlsm.runtime.executor import T
from hpc_mlsm.runtime.slurm_jobs import job_end

MARGIN_S = 30.0
"""What must be left of the job when its last task ends: for the stage to note what is done, and to come back."""

SAFETY = 1.5
"""Tasks are taken to last so much longer than those before them."""

LOOK_AHEAD = 1000
"""How many tasks that do not fit are passed over in search of a smaller one."""


class Forecast:
    """How long a task of this map will take: as the finished ones, by their cost; unknown before there is one."""

    def __init__(self) -> None:
        self._seconds = self._cost = 0.0

    def learn(self, cost: float, seconds: float) -> None:
        """Take a finished task into account."""
        if cost > 0:
            self._cost += cost
            self._seconds += seconds

    def seconds(self, cost: float) -> float:
        """How long a task of this cost will take at most; 0 while nothing is known."""
        return SAFETY * cost * self._seconds / self._cost if self._cost else 0.0


class FittingTasks(Generic[T]):
    """The supply of a map, without the tasks that would not finish in the time left.

    Parameters
    ----------
    source : iterator
        The tasks, largest first as a rule.
    end : float or None
        When this process will be ended (``time.time``); None takes the end of its Slurm job, if it is in one.
    """

    def __init__(self, source: Iterator[T], end: float | None = None) -> None:
        self.forecast = Forecast()
        self.passed_over = 0
        self._source = source
        self._end = job_end() if end is None else end
        self._held: T | None = None
        self._largest = 0.0

    @property
    def short_of_time(self) -> str:
        """Why tasks were passed over; empty where none was."""
        if not self.passed_over or self._end is None:
            return ""
        return f"the end of its Slurm job in {max(self._end - time.time(), 0):.0f} s, too soon for a further task"

    def next(self, *, stopped: Callable[[], bool], behind_another: bool = False) -> tuple[T | None, bool]:
        """The next task, if there is one for now, and whether there may be more later.

        Parameters
        ----------
        stopped : callable
            Ends the search.
        behind_another : bool
            Whether the task would wait at a worker for another one to finish.
        """
        while not stopped() and self.passed_over <= LOOK_AHEAD:
            task = self._held if self._held is not None else next(self._source, None)
            self._held = None
            if task is None:
                return None, False
            if self.fits(task):
                if behind_another and not self.fits(task, self._largest):
                    self._held = task
                    return None, True
                self._largest = max(self._largest, task.cost)
                return task, True
            self.passed_over += 1
        return None, False

    def fits(self, task: Any, behind_cost: float = 0.0) -> bool:
        """Whether a task will finish in time, as far as one can tell, started now or behind one of a given cost."""
        if self._end is None:
            return True
        needed = self.forecast.seconds(task.cost) + self.forecast.seconds(behind_cost)
        return needed == 0 or time.time() + needed + MARGIN_S < self._end
