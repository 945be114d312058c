"""Sites: what a cluster's queues, nodes and environment are called, and what each stage gets there."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval

from hpc_mlsm.config.load import parse_settings
from hpc_mlsm.config.slurm_words import MEMORY, memory_bytes, refuse_odd_text, seconds
from hpc_mlsm.config.yaml_text import read_yaml
from hpc_mlsm.errors import ConfigError

__all__ = ["SHIPPED", "SiteProfile", "SiteStages", "StageResources", "load_site", "memory_bytes", "seconds"]

SITES_VARIABLE = "HPC_MLSM_SITES"
"""Environment variable with folders of profiles, separated by colons; searched first."""

SIGNAL_EARLY_S = 60
"""Slurm may send a signal this much earlier than it was asked to."""

SHIPPED = Path(__file__).resolve().parents[2] / "configs" / "site"

ExecutorKind = Literal["inline", "local", "slurm", "runner", "mpi"]


@dataclass(frozen=True)
class StageResources:
    """What one stage asks of the cluster; None takes the site's, or the cluster's, default.

    Attributes
    ----------
    nodes, tasks_per_node, cpus_per_task
        Shape of the allocation.
    memory
        Of each node, such as ``16G``.
    gpus
        On each node; for executor ``slurm``, of each job that workers are in.
    walltime
        ``hours:minutes:seconds``, or ``days-hours:minutes:seconds``, in quotes.
    executor
        What runs the stage's tasks: ``inline`` and ``local`` use the job's first node, ``runner`` (srun) and ``mpi``
        all its tasks, ``slurm`` has the job submit workers of its own.
    workers
        Worker processes of the executor; None takes what it finds.
    worker_memory, worker_walltime, workers_per_job
        For executor slurm: memory of each worker, such as ``4G`` (None takes the stage's, and where that is None Dask's
        ``jobqueue.yaml``), walltime of the jobs that workers are in (None takes the stage's), and how many of them
        share a job. The stage's own job waits while they are in the queue: its walltime has to hold that as well.
    partition, account, qos, constraint
        In place of the site's.
    options
        Further options of sbatch, such as ``--exclusive``.
    """

    nodes: Annotated[int, Interval(ge=1, le=100_000)] = 1
    tasks_per_node: Annotated[int, Interval(ge=1, le=4096)] = 1
    cpus_per_task: Annotated[int, Interval(ge=1, le=4096)] = 1
    memory: str | None = None
    gpus: Annotated[int, Interval(ge=0, le=64)] = 0
    walltime: str = "01:00:00"
    executor: ExecutorKind = "local"
    workers: Annotated[int, Ge(1)] | None = None
    worker_memory: str | None = None
    worker_walltime: str | None = None
    workers_per_job: Annotated[int, Interval(ge=1, le=1024)] = 1
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        seconds(self.walltime)
        if self.memory is not None and not MEMORY.fullmatch(self.memory):
            raise ConfigError(f"memory: found {self.memory!r}; expected memory of a node such as 16G or 900M")
        self._check_workers()
        refuse_odd_text(self, ("memory", "partition", "account", "qos", "constraint"), ("options",))
        tasks = self.tasks
        if tasks < 3 and self.executor in ("runner", "mpi"):
            raise ConfigError(
                f"executor: {self.executor} needs 3 tasks at least (scheduler, program and a worker), found {tasks}; "
                "raise nodes or tasks_per_node"
            )

    @property
    def tasks(self) -> int:
        """Of the whole allocation."""
        return self.nodes * self.tasks_per_node

    def _check_workers(self) -> None:
        """What belongs to executor slurm is complete there, and not given elsewhere."""
        if self.executor != "slurm":
            given = [key for key in ("worker_memory", "worker_walltime") if getattr(self, key) is not None]
            if given:
                raise ConfigError(f"{given[0]}: only executor slurm has workers in jobs of their own; remove it")
            return
        if self.workers is None:
            raise ConfigError("workers: executor slurm needs to know how many; set workers")
        if self.worker_memory is not None and not MEMORY.fullmatch(self.worker_memory):
            raise ConfigError(f"worker_memory: found {self.worker_memory!r}; expected memory such as 4G or 900M")
        if self.worker_walltime is not None:
            seconds(self.worker_walltime)


@dataclass(frozen=True)
class SiteStages:
    """The resources of each stage.

    ``train_networks`` is for the train stage of runs that train networks: it is started on all tasks, which are the
    ranks that train together, each with one GPU of its node or with its cores. None takes those of ``train``.
    ``cross_validate`` is for the evaluate stage of runs that cross-validate, which trains each model as often as there
    are folds; its workers may be those of any executor. None takes those of ``evaluate``.
    """

    ingest: StageResources = field(default_factory=StageResources)
    simulate: StageResources = field(default_factory=StageResources)
    group: StageResources = field(default_factory=StageResources)
    train: StageResources = field(default_factory=StageResources)
    train_networks: StageResources | None = None
    evaluate: StageResources = field(default_factory=StageResources)
    cross_validate: StageResources | None = None
    predict: StageResources = field(default_factory=StageResources)
    decompose: StageResources = field(default_factory=StageResources)
    refine: StageResources = field(default_factory=StageResources)
    report: StageResources = field(default_factory=StageResources)

    def given(self) -> dict[str, StageResources]:
        """All resources that there are, by key."""
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: resources for name, resources in found.items() if resources is not None}

    def of(self, stage: str, *, networks: bool, folds: bool = False) -> StageResources:
        """Those of a stage, in a run that trains networks or does not, and that cross-validates or does not."""
        given = self.given()
        if stage == "train" and networks:
            return given.get("train_networks", given["train"])
        if stage == "evaluate" and folds:
            return given.get("cross_validate", given["evaluate"])
        return given[stage]


@dataclass(frozen=True)
class SiteProfile:
    """A cluster, or a user's share of it.

    Attributes
    ----------
    description
        For people.
    partition, account, qos, constraint
        As sbatch has them; a stage may have its own.
    gpu_type
        Name of the GPUs in Slurm's generic resources, where it needs one.
    gpu_tflops, gpu_memory
        What one GPU does in training of networks (10¹² operations a second, measured rather than advertised), and
        its memory, such as ``80G``; for plans.
    modules
        What ``module load`` loads in a job.
    activate
        Shell lines that make ``hpc-mlsm`` available in a job. With none, jobs use the Python that submits them.
    interface
        Network interface on which scheduler and workers find each other, such as ``ib0``.
    scratch
        Folder on a disk of the node, as ``TMPDIR`` of jobs; may hold variables such as ``$USER`` and ``$SLURM_JOB_ID``.
    launcher
        What starts a program on all tasks of an allocation; the executor ``runner`` needs srun.
    launcher_options
        Its options, such as ``--mpi=pmix``.
    nodes_reach_login
        False where compute nodes cannot connect to the login node, nor submit; the executor ``slurm`` is then refused.
    signal_before_s
        How long before the walltime a job is told to drain (Slurm may be up to a minute early).
    max_idle_restarts
        After how many restarts in which nothing was finished a job gives up.
    options
        Further options of sbatch for all stages.
    stages
        What each stage gets.
    """

    description: str = ""
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gpu_type: str | None = None
    gpu_tflops: Annotated[float, Gt(0)] | None = None
    gpu_memory: str | None = None
    modules: tuple[str, ...] = ()
    activate: tuple[str, ...] = ()
    interface: str | None = None
    scratch: str | None = None
    launcher: Literal["srun", "mpirun", "none"] = "srun"
    launcher_options: tuple[str, ...] = ()
    nodes_reach_login: bool = True
    signal_before_s: Annotated[int, Interval(ge=10, le=65535)] = 300
    max_idle_restarts: Annotated[int, Interval(ge=0, le=100)] = 3
    options: tuple[str, ...] = ()
    stages: SiteStages = field(default_factory=SiteStages)

    def __post_init__(self) -> None:
        single = ("partition", "account", "qos", "constraint", "gpu_type", "interface", "scratch")
        refuse_odd_text(self, single, ("modules", "activate", "launcher_options", "options"))
        if self.gpu_memory is not None and not MEMORY.fullmatch(self.gpu_memory):
            raise ConfigError(f"gpu_memory: found {self.gpu_memory!r}; expected memory of one GPU such as 80G")
        for name, resources in self.stages.given().items():
            self._check(name, resources)

    def _check(self, name: str, stage: StageResources) -> None:
        place = f"stages.{name}"
        if name == "train_networks":
            self._check_ranks(place, stage)
        elif stage.tasks > 1 and stage.executor in ("inline", "local", "slurm"):
            raise ConfigError(
                f"{place}.executor: {stage.executor} is started once, but {stage.tasks} tasks are asked for; set nodes "
                "and tasks_per_node to 1, or executor to runner or mpi"
            )
        if stage.executor == "runner" and self.launcher != "srun":
            raise ConfigError(f"{place}.executor: runner is started by srun, but launcher is {self.launcher}")
        if stage.executor == "mpi" and self.launcher == "none":
            raise ConfigError(f"{place}.executor: mpi needs a launcher; set launcher to mpirun or srun")
        if stage.executor == "slurm" and not self.nodes_reach_login:
            raise ConfigError(
                f"{place}.executor: slurm submits from a compute node, which nodes_reach_login = false rules out; "
                "use runner or mpi, which stay inside the allocation"
            )
        if seconds(stage.walltime) < 2 * self.signal_before_s + SIGNAL_EARLY_S:
            raise ConfigError(
                f"{place}.walltime: {stage.walltime} is less than twice signal_before_s = {self.signal_before_s} s and "
                "a minute, so that a job would be told to stop before it got anywhere; raise the one or lower the other"
            )

    def _check_ranks(self, place: str, stage: StageResources) -> None:
        if stage.executor not in ("inline", "local"):
            raise ConfigError(
                f"{place}.executor: found {stage.executor}, whose tasks are workers, but those of a network are ranks; "
                "leave it out"
            )
        if stage.tasks > 1 and self.launcher == "none":
            raise ConfigError(f"{place}: {stage.tasks} ranks need a launcher; set launcher to srun or mpirun")
        if stage.gpus and stage.tasks_per_node > stage.gpus:
            raise ConfigError(
                f"{place}.tasks_per_node: each rank takes one GPU, but {stage.tasks_per_node} ranks of a node share "
                f"{stage.gpus}; set both to the same number"
            )


def load_site(name: str, environment: Mapping[str, str] = os.environ) -> SiteProfile:
    """The profile of that name, or at that path (which ends in ``.yaml`` or holds a slash).

    Names are looked for in the folders of ``$HPC_MLSM_SITES``, then ``~/.config/hpc_mlsm/sites``
    (``$XDG_CONFIG_HOME``), then ``configs/site`` of the working directory and of the repository.

    Raises
    ------
    ConfigError
        If there is none, with the names that there are; or it cannot be read, or a key or value in it is wrong.
    """
    path = _find(name, environment)
    return parse_settings(read_yaml(path), SiteProfile, str(path))


def site_folders(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Where profiles are looked for, in order."""
    own = [Path(folder).expanduser() for folder in environment.get(SITES_VARIABLE, "").split(":") if folder]
    home = Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return [*own, home / "hpc_mlsm" / "sites", Path("configs") / "site", SHIPPED]


def _find(name: str, environment: Mapping[str, str]) -> Path:
    if "/" in name or name.endswith((".yaml", ".yml")):
        return Path(name).expanduser()
    folders = site_folders(environment)
    for folder in folders:
        if (path := folder / f"{name}.yaml").is_file():
            return path
    known = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
    raise ConfigError(
        f"there is no site {name!r}; known are {', '.join(known) or 'none'}. Put your own as {name}.yaml into "
        f"{folders[-3]}, or name a folder in ${SITES_VARIABLE}, or give the path of the file"
    )
