"""The plan of a run on a site: what each stage needs of what it is given, there and on other numbers of nodes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.config.site import SIGNAL_EARLY_S, SiteProfile, StageResources, memory_bytes, seconds
from hpc_mlsm.plan.networks import NetworkNeed
from hpc_mlsm.plan.projection import disk_of
from hpc_mlsm.plan.refusals import refusals
from hpc_mlsm.plan.shape import StageShape
from hpc_mlsm.plan.stages import Inventory, StageNeed, stage_need
from hpc_mlsm.runtime.resources import usable_cores
from hpc_mlsm.runtime.settings import ExecutorSettings
from hpc_mlsm.stages.context import RunContext
from hpc_mlsm.stages.network_plan import gpu_of, network_needs, scaled_to
from hpc_mlsm.stages.plan import TIMED_STRUCTURES, inventory
from hpc_mlsm.stages.submit import resources_of, stages_of

SCALED = ("simulate", "train")
"""Stages whose work is divided over nodes; the others are done on one."""

DOUBLINGS = 4


@dataclass(frozen=True)
class SitePlan:
    """Needs of each stage as the site has it, and of the scaled ones at other numbers of nodes.

    Attributes
    ----------
    speed, timed
        How much faster this machine is than the cost model, and from how many structures that was measured.
    at_nodes
        Number of nodes, and the needs of ``SCALED`` there.
    refusals
        What cannot work, with figure and remedy.
    free_bytes
        On the disk that takes the run.
    networks
        Training of a network on several numbers of GPUs.
    """

    what: Inventory
    needs: tuple[StageNeed, ...]
    at_nodes: tuple[tuple[int, tuple[StageNeed, ...]], ...]
    refusals: tuple[str, ...]
    speed: float
    timed: int
    free_bytes: int
    networks: tuple[NetworkNeed, ...] = ()


def run(
    context: RunContext,
    site: SiteProfile,
    nodes: Sequence[int] = (),
    *,
    disk: Path | None = None,
    patterns: int | None = None,
) -> SitePlan:
    """Read the structures, time a few of them here, and project every stage on the site.

    Parameters
    ----------
    nodes
        For how many nodes to project as well; powers of two up to somewhat beyond the site's by default.
    disk
        Folder on the disk that takes the run, where that is not the context's.
    patterns
        For how many to project the training of a network, in place of those of the run.
    """
    config = context.config
    # Structures are read and timed by this process: the executors of the configuration are those of jobs.
    context.config = replace(config, executor=ExecutorSettings(workers=max(1, usable_cores() - 1)))
    try:
        what, speed = inventory(context)
    finally:
        context.config = config
    what = replace(what, gpu=gpu_of(site))
    needs = tuple(stage_need(what, shape) for shape in shapes(config, site))
    place, free = disk_of(disk or context.run.path)
    scaled = [need.shape for need in needs if need.stage in SCALED]
    counts = sorted(set(nodes)) or _doublings(scaled)
    return SitePlan(
        what=what,
        needs=needs,
        at_nodes=tuple((count, tuple(stage_need(what, shape.at(count)) for shape in scaled)) for count in counts),
        refusals=tuple(refusals(what, needs, free, str(place))),
        speed=speed,
        timed=min(TIMED_STRUCTURES, len(what.costs)),
        free_bytes=free,
        networks=_networks(what, patterns),
    )


def _networks(what: Inventory, patterns: int | None) -> tuple[NetworkNeed, ...]:
    if what.network is None or what.gpu is None:
        return ()
    counts = scaled_to(what.class_patterns, patterns)
    return network_needs(what.network, len(what.settings.grid), counts, what.gpu)


def shapes(config: RunConfig, site: SiteProfile) -> list[StageShape]:
    """What the site gives each stage of the run."""
    found = [_shape(stage, resources_of(stage, config, site), site) for stage in stages_of(config)]
    if site.stages.train_networks is None or not config.networks:
        return found
    return [replace(shape, executor="ranks") if shape.stage == "train" else shape for shape in found]


def _shape(stage: str, given: StageResources, site: SiteProfile) -> StageShape:
    worker = given.worker_memory or given.memory
    return StageShape(
        stage=stage,
        executor=given.executor,
        nodes=given.nodes,
        tasks_per_node=given.tasks_per_node,
        cpus_per_task=given.cpus_per_task,
        memory=None if given.memory is None else memory_bytes(given.memory),
        gpus=given.gpus,
        walltime_s=seconds(given.walltime),
        notice_s=site.signal_before_s + SIGNAL_EARLY_S,
        workers=given.workers,
        section=next(name for name, one in site.stages.given().items() if one is given),
        worker_memory=None if worker is None or given.executor != "slurm" else memory_bytes(worker),
    )


def _doublings(scaled: Sequence[StageShape]) -> list[int]:
    most = max((shape.nodes for shape in scaled), default=1)
    counts = [2**k for k in range(DOUBLINGS + 1)]
    while counts[-1] < 2 * most:
        counts.append(2 * counts[-1])
    return sorted({*counts, *(shape.nodes for shape in scaled)})
