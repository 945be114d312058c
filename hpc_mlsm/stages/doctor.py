"""Doctor: whether the login node and the compute nodes of a site are what runs need, each finding with its remedy."""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.config.site import SiteProfile, StageResources, memory_bytes
from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.probes import packages
from hpc_mlsm.runtime.probes.disk import check_folder
from hpc_mlsm.runtime.probes.finding import Finding
from hpc_mlsm.runtime.probes.job import run_probe
from hpc_mlsm.runtime.probes.network import Listener, interfaces
from hpc_mlsm.runtime.probes.node import Order, clock_of_files, write_order
from hpc_mlsm.runtime.probes.ranks import Kind, check_launch
from hpc_mlsm.runtime.probes.shared import SharedFolder, check_contest, check_lock
from hpc_mlsm.runtime.sbatch import JobScript
from hpc_mlsm.runtime.submit import would_start
from hpc_mlsm.stages.doctor_here import check_rename_of_one, trial_folder
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.submit import job_scripts, program_of, resources_of

LOGIN = "login node"
WALLTIME = "00:10:00"


@dataclass(frozen=True)
class NodeKind:
    """Nodes that some stages of a site share: what sbatch is asked for to get one of them."""

    partition: str | None
    account: str | None
    qos: str | None
    constraint: str | None
    options: tuple[str, ...]
    stages: tuple[str, ...]
    nodes: int
    gpus: int
    executors: frozenset[str]

    def __str__(self) -> str:
        named = [f"partition {self.partition or 'default'}"]
        named += [f"{key} {value}" for key, value in (("qos", self.qos), ("constraint", self.constraint)) if value]
        return ", ".join(named)


def node_kinds(site: SiteProfile) -> list[NodeKind]:
    """The kinds of nodes that the stages of a site ask for, each with its stages; two nodes where one has several."""
    kinds: dict[tuple[object, ...], list[tuple[str, StageResources]]] = {}
    for name, stage in site.stages.given().items():
        kinds.setdefault(_asked(stage, site), []).append((name, stage))
    return [_kind(site, some) for some in kinds.values()]


def _asked(stage: StageResources, site: SiteProfile) -> tuple[object, ...]:
    own = (stage.partition or site.partition, stage.account or site.account, stage.qos or site.qos)
    return (*own, stage.constraint or site.constraint, (*site.options, *stage.options), bool(stage.gpus))


def _kind(site: SiteProfile, some: list[tuple[str, StageResources]]) -> NodeKind:
    first = some[0][1]
    return NodeKind(
        partition=first.partition or site.partition,
        account=first.account or site.account,
        qos=first.qos or site.qos,
        constraint=first.constraint or site.constraint,
        options=(*site.options, *first.options),
        stages=tuple(name for name, _ in some),
        nodes=2 if any(stage.nodes > 1 or stage.executor == "slurm" for _, stage in some) else 1,
        gpus=min(1, max(stage.gpus for _, stage in some)),
        executors=frozenset(stage.executor for _, stage in some),
    )


def examine_site(
    site: SiteProfile, run: Path | None, config: RunConfig, *, wait_s: float, say: Callable[[str], None]
) -> Iterator[Finding]:
    """Checks of the login node, of what the profile asks sbatch for, and of one node or two of each kind.

    Parameters
    ----------
    run
        An existing run directory, or the folder below which runs are to be.
    config
        Of the run, or any: its stages are asked for as ``submit`` would.
    wait_s
        How long each probe may wait in the queue.
    say
        Told of what is waited for.
    """
    extras = _extras(site)
    with trial_folder(run) as folder:
        yield packages.check_packages(LOGIN, packages.this_environment(), extras)
        yield check_rename_of_one(folder, LOGIN)
        yield check_lock(LOGIN, folder)
        yield from check_folder("shared folder", LOGIN, folder)
        yield from _submissions(site, folder, config)
        if shutil.which("sbatch") is None:
            return
        for number, kind in enumerate(node_kinds(site)):
            own = folder / str(number)
            own.mkdir()
            yield from _probe(site, kind, own, wait_s=wait_s, say=say)


def _extras(site: SiteProfile) -> list[str]:
    kinds = {stage.executor for stage in site.stages.given().values()}
    return [*(["cluster"] if kinds & {"slurm", "runner"} else []), *(["mpi"] if "mpi" in kinds else [])]


def _submissions(site: SiteProfile, folder: Path, config: RunConfig) -> Iterator[Finding]:
    """What sbatch would say of each stage's job."""
    if shutil.which("sbatch") is None:
        remedy = "call doctor on a login node of the cluster, where Slurm's commands are"
        yield Finding("sbatch", LOGIN, "failure", "sbatch is not on this machine", remedy)
        return
    jobs = job_scripts(RunDirectory(folder), config, site)
    for job in [*jobs, *_worker_jobs(jobs, config, site)]:
        try:
            yield Finding(f"job of {job.stage}", LOGIN, "ok", would_start(job))
        except ExecutorError as error:
            remedy = f"change this in stages.{job.stage.split()[0]} of the profile, or for all stages"
            yield Finding(f"job of {job.stage}", LOGIN, "failure", f"sbatch: {error}", remedy)


def _worker_jobs(jobs: Sequence[JobScript], config: RunConfig, site: SiteProfile) -> Iterator[JobScript]:
    """The jobs that stages with executor slurm will submit for their workers."""
    for job in jobs:
        stage = resources_of(job.stage, config, site)
        if stage.executor == "slurm":
            memory = stage.worker_memory or stage.memory
            yield replace(
                job,
                stage=f"{job.stage} workers",
                cpus_per_task=stage.workers_per_job,
                memory=memory and f"{memory_bytes(memory) * stage.workers_per_job // 2**20}M",
                walltime=stage.worker_walltime or stage.walltime,
                gpus=0,
            )


def _probe(
    site: SiteProfile, kind: NodeKind, folder: Path, *, wait_s: float, say: Callable[[str], None]
) -> Iterator[Finding]:
    launch, launched = _launch(site, kind, folder)
    with contextlib.ExitStack() as stack:
        shared = stack.enter_context(SharedFolder(folder))
        login = None
        if site.nodes_reach_login:
            try:
                listener = stack.enter_context(Listener(folder, _interface_here(site.interface)))
                login = (listener.address, listener.port)
            except (ExecutorError, OSError) as error:
                remedy = "install it, or name another interface: in the profile"
                yield Finding("listens for nodes", LOGIN, "failure", str(error), remedy)
        order = Order(
            token=shared.token,
            nodes=kind.nodes,
            login=login,
            interface=site.interface,
            gpus=kind.gpus,
            extras=tuple(_extras(site)),
            packages=packages.this_environment(),
            written=clock_of_files(folder),
            queue=True,
        )
        write_order(folder, order)
        ended = run_probe(_job(site, kind, folder), launch, str(kind), wait_s, say)
    if ended.job_id:
        yield Finding("probe job", str(kind), "ok", f"job {ended.job_id}, for {', '.join(kind.stages)}")
    yield from ended.findings
    if any(folder.glob("node-*.json")):
        yield check_contest(str(kind), folder)
        if launch:
            yield check_launch(str(kind), folder, launched, " ".join(launch[:1]), launched in kind.executors)
        else:
            yield Finding("launch", str(kind), "not asked for", "launcher: none")


def _job(site: SiteProfile, kind: NodeKind, folder: Path) -> JobScript:
    return JobScript(
        stage="probe",
        name="hpc-mlsm.doctor",
        command=(*program_of(site), "doctor-node", str(folder)),
        run=folder,
        workdir=Path.cwd(),
        nodes=kind.nodes,
        tasks_per_node=1 if kind.nodes > 1 else 2,
        cpus_per_task=1,
        gpus=kind.gpus,
        gpu_type=site.gpu_type,
        memory="2G",
        walltime=WALLTIME,
        partition=kind.partition,
        account=kind.account,
        qos=kind.qos,
        constraint=kind.constraint,
        options=kind.options,
        modules=site.modules,
        activate=site.activate,
        scratch=site.scratch,
        threads=1,
    )


def _launch(site: SiteProfile, kind: NodeKind, folder: Path) -> tuple[list[str], Kind]:
    launched: Kind = "mpi" if "mpi" in kind.executors or site.launcher == "mpirun" else "runner"
    words = [*program_of(site), "doctor-rank", str(folder), launched]
    if site.launcher == "none":
        return [], launched
    start = ["srun", "--ntasks=2"] if site.launcher == "srun" else ["mpirun", "-n", "2"]
    return [*start, *site.launcher_options, *words], launched


def _interface_here(interface: str | None) -> str | None:
    """The profile's interface, where the login node has it; login nodes often have others than compute nodes."""
    return interface if interface in interfaces() else None
