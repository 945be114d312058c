"""Submit: the stages of a run as a chain of jobs on a cluster."""

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.config.site import SiteProfile, StageResources, memory_bytes, seconds
from hpc_mlsm.errors import RunError
from hpc_mlsm.runtime.lock import RunLock
from hpc_mlsm.runtime.sbatch import JobScript, expandable, gpus
from hpc_mlsm.runtime.slurm_script import NANNY_MB
from hpc_mlsm.runtime.submit import SubmittedJob, refuse_live_jobs, submit_chain
from hpc_mlsm.stages.archive import steps_of
from hpc_mlsm.stages.run_directory import RunDirectory

ONE_THREAD = frozenset({"ingest", "simulate"})
"""Stages that spread over processes, each of which keeps to one core."""

SUBMIT_LOCK = "submit.lock"
"""Held while a run is submitted, apart from the lock of the run, which its first job needs at once."""

QUEUE_S = 86_400
"""Workers may wait in the queue at least this long."""

DRAIN_MARGIN = 0.8
"""Part of the notice before the walltime that running tasks get to finish; the rest is for ending the workers."""


def stages_of(config: RunConfig) -> list[str]:
    """The stages that a run of this configuration has, in their order."""
    if config.predict.model is not None:
        return list(steps_of(config.predict))
    predict = ["predict"] if config.predict.patterns or config.predict.samples else []
    group = ["group"] if config.simulate.kind == "pdf" else []
    return ["ingest", "simulate", *group, "train", "evaluate", *predict, "report"]


def job_scripts(run: RunDirectory, config: RunConfig, site: SiteProfile) -> list[JobScript]:
    """One job a stage, with the resources that the site gives it."""
    return [_job(stage, run, config, site) for stage in stages_of(config)]


@contextmanager
def only_submission(run: RunDirectory) -> Iterator[None]:
    """Keep others from submitting the run as long as the block runs.

    Raises
    ------
    RunError
        If another process is submitting it, or jobs of it are in the queue.
    """
    try:
        run.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{run.path} cannot be made: {error.strerror or error}; name another folder by --run") from error
    with RunLock(run.path, name=SUBMIT_LOCK):
        refuse_live_jobs(run.path)
        yield


def submit(run: RunDirectory, config: RunConfig, jobs: Sequence[JobScript]) -> list[SubmittedJob]:
    """Write the run's configuration, and submit its jobs; to be called within ``only_submission``.

    Raises
    ------
    RunError
        If the run is in use.
    ExecutorError
        If sbatch is missing or refuses.
    """
    with RunLock(run.path):  # given back before the first job, which takes it, may start
        run.save(config)
    return submit_chain(jobs)


def resources_of(stage: str, config: RunConfig, site: SiteProfile) -> StageResources:
    """What the site gives a stage of this run."""
    folds = bool(config.models) and config.classify.cross_validate
    return site.stages.of(stage, networks=bool(config.networks), folds=folds)


def _job(stage: str, run: RunDirectory, config: RunConfig, site: SiteProfile) -> JobScript:
    resources = resources_of(stage, config, site)
    path = run.path.resolve()
    together = resources is site.stages.train_networks and resources.tasks > 1
    command = ["archive", str(path), "--only", stage] if config.predict.model is not None else [stage, str(path)]
    words = [*_launcher(resources, site, together=together), *program_of(site), *command]
    for override in [*_overrides(path, resources, site), *_device(stage, resources, config)]:
        words += ["--set", override]
    return JobScript(
        stage=stage,
        name=f"{config.name}.{stage}",
        command=tuple(words),
        run=path,
        workdir=Path.cwd(),
        nodes=resources.nodes,
        tasks_per_node=resources.tasks_per_node,
        cpus_per_task=resources.cpus_per_task,
        memory=resources.memory,
        gpus=0 if resources.executor == "slurm" else resources.gpus,  # there they are the workers'
        gpu_type=site.gpu_type,
        walltime=resources.walltime,
        partition=resources.partition or site.partition,
        account=resources.account or site.account,
        qos=resources.qos or site.qos,
        constraint=resources.constraint or site.constraint,
        options=(*site.options, *resources.options),
        modules=site.modules,
        activate=site.activate,
        scratch=site.scratch,
        threads=1 if stage in ONE_THREAD else None,
        resumes_when_killed=together,
        signal_before_s=site.signal_before_s,
        max_idle_restarts=site.max_idle_restarts,
    )


def program_of(site: SiteProfile) -> list[str]:
    """The program in a job: what the site's lines activate, or else the Python that submits."""
    return ["hpc-mlsm"] if site.activate else [sys.executable, "-m", "hpc_mlsm.cli.main"]


def _launcher(resources: StageResources, site: SiteProfile, *, together: bool) -> list[str]:
    """What starts the program on all tasks; nothing where it is to be started once.

    ``together`` is for tasks that are all alike, and train a network.
    """
    if resources.executor not in ("runner", "mpi") and not together:
        return []
    if site.launcher == "srun":
        # When the program has ended with an error, its workers have nothing to wait for. Ranks that train together
        # find out themselves that one is lost, and say so.
        return ["srun", f"--kill-on-bad-exit={0 if together else 1}", *site.launcher_options]
    return ["mpirun", "-n", str(resources.tasks), *site.launcher_options]


def _overrides(run: Path, resources: StageResources, site: SiteProfile) -> list[str]:
    """The executor of a stage, as options of the program; JSON is YAML, too."""
    executor: dict[str, Any] = {
        "kind": resources.executor,
        "workers": resources.workers,
        "grace_s": DRAIN_MARGIN * site.signal_before_s,
    }
    if resources.executor in ("runner", "mpi", "slurm") or resources.tasks > 1:
        executor["interface"] = site.interface
    if resources.executor == "slurm":
        executor["slurm"] = _worker_jobs(run, resources, site)
        if memory := resources.worker_memory or resources.memory:
            executor["memory_per_worker_mb"] = _worker_memory_mb(memory)
    return [f"executor.{key}={json.dumps(value)}" for key, value in executor.items()]


def _device(stage: str, resources: StageResources, config: RunConfig) -> list[str]:
    """Train on the GPUs that there are, unless the configuration says where."""
    wanted = stage == "train" and resources.gpus and config.train.boosted.device == "auto"
    return ["train.boosted.device=cuda"] if wanted else []


def _worker_memory_mb(memory: str) -> int:
    """What a worker may use (MB, 10⁶ bytes) so that its job asks for that memory for it."""
    return memory_bytes(memory) // 10**6 - NANNY_MB


def _worker_jobs(run: Path, resources: StageResources, site: SiteProfile) -> dict[str, Any]:
    """What the jobs of the workers ask for, which the stage's own job submits."""
    named = {"qos": resources.qos or site.qos, "constraint": resources.constraint or site.constraint}
    options = [f"--{option}={value}" for option, value in named.items() if value is not None]
    if resources.gpus:
        options.append(f"--gres={gpus(resources.gpus, site.gpu_type)}")
    modules = [f"module load {shlex.join(site.modules)}"] if site.modules else []
    scratch = [f'export TMPDIR={expandable(site.scratch)} && mkdir -p "$TMPDIR"'] if site.scratch else []
    return {
        "partition": resources.partition or site.partition,
        "account": resources.account or site.account,
        "walltime": resources.worker_walltime or resources.walltime,
        "workers_per_job": resources.workers_per_job,
        # A job that waits for workers until its walltime comes back and waits on; one that gives up before does not.
        "queue_s": max(QUEUE_S, seconds(resources.walltime)),
        "folder": str(run / "logs" / "workers"),
        "sbatch": [*options, *site.options, *resources.options],
        "prologue": [*modules, *site.activate, *scratch],
    }
