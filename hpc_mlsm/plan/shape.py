"""The part of a cluster that a stage is given, as far as projections need it."""

import math
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["inline", "local", "slurm", "runner", "mpi", "ranks"]

LAUNCHED = ("runner", "mpi")
OTHER_RANKS = 2
"""Ranks of a launch that are no workers: scheduler and driver."""

DISTRIBUTED = ("slurm", *LAUNCHED)
"""Executors over whose workers training is divided unless the configuration says otherwise."""


@dataclass(frozen=True)
class StageShape:
    """Resources of one stage.

    Attributes
    ----------
    executor
        What runs its tasks; ``ranks`` where all tasks of the job train a network together.
    nodes, tasks_per_node, cpus_per_task
        Of its job.
    memory
        Of each node of the job (bytes); None where the profile leaves it to the cluster.
    gpus
        On each node.
    walltime_s, notice_s
        Of the job, and how long before it the job is told to stop.
    workers
        As the profile names them; None takes what is there.
    worker_memory
        Of each worker (bytes), where it is a job of its own (executor slurm); None leaves it to jobqueue.yaml.
    section
        Of the profile that it is from, where that is not called as the stage is.
    """

    stage: str
    executor: Kind
    nodes: int
    tasks_per_node: int
    cpus_per_task: int
    memory: float | None
    gpus: int
    walltime_s: int
    notice_s: int
    workers: int | None = None
    worker_memory: float | None = None
    section: str = ""

    @property
    def key(self) -> str:
        """Where a profile says what the stage gets."""
        return self.section or ("train_networks" if self.executor == "ranks" else self.stage)

    @property
    def cores(self) -> int:
        """Cores of the job; of all worker jobs and the one that submits them under executor slurm."""
        own = self.nodes * self.tasks_per_node * self.cpus_per_task
        return own + self.processes if self.executor == "slurm" else own

    @property
    def processes(self) -> int:
        """Workers that take tasks."""
        if self.executor == "inline":
            return 1
        if self.executor == "ranks":
            return self.nodes * self.tasks_per_node
        if self.executor in LAUNCHED:
            return max(1, self.nodes * self.tasks_per_node - OTHER_RANKS)
        return self.workers or self.cpus_per_task

    @property
    def worker_cores(self) -> int:
        """Cores that each worker may use."""
        return self.cpus_per_task if self.executor in ("inline", "ranks", *LAUNCHED) else 1

    @property
    def distributed(self) -> bool:
        """Whether the stage's workers are spread over nodes, so that training is divided among them, too."""
        return self.executor in DISTRIBUTED

    @property
    def together(self) -> int:
        """Processes that share the memory of one node."""
        if self.executor == "slurm":
            return 1
        return self.tasks_per_node if self.executor in ("ranks", *LAUNCHED) else self.processes

    @property
    def memory_each(self) -> float | None:
        """What each worker has (bytes); None where nobody says."""
        if self.executor == "slurm":
            return self.worker_memory
        return None if self.memory is None else self.memory / self.together

    @property
    def usable_s(self) -> float:
        """Of the walltime, what is left to work in one go."""
        return max(0.0, self.walltime_s - self.notice_s)

    def at(self, nodes: int) -> "StageShape":
        """The same on another number of nodes; what ran on one node alone is then launched on all their cores.

        Under executor slurm, that many times the workers.
        """
        if self.executor == "slurm":
            return replace(self, workers=nodes * self.processes)
        if nodes == self.nodes:
            return self
        if self.executor in ("ranks", *LAUNCHED):
            return replace(self, nodes=nodes)
        cores = self.tasks_per_node * self.cpus_per_task
        return replace(self, executor="runner", nodes=nodes, tasks_per_node=cores, cpus_per_task=1, workers=None)


def goes(seconds: float, shape: StageShape) -> int:
    """In how many goes, each of a walltime, a stage of so many seconds gets done."""
    return max(1, math.ceil(seconds / shape.usable_s)) if shape.usable_s else 1
