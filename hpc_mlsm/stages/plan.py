"""Plan: what a run will need in time, memory and disk, before anything large is started."""

import time
from dataclasses import dataclass, replace

import numpy as np

from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.errors import PlanError, RunError, StoreError, StructureError
from hpc_mlsm.evaluation.classify_settings import FORESTS
from hpc_mlsm.models.forest_settings import ForestSettings
from hpc_mlsm.plan.cost import StructureCost, structure_cost
from hpc_mlsm.plan.forests import ForestNeed
from hpc_mlsm.plan.networks import NetworkNeed, of_cores
from hpc_mlsm.plan.projection import Projection, project, refuse_what_cannot_fit
from hpc_mlsm.plan.shape import LAUNCHED, OTHER_RANKS, StageShape
from hpc_mlsm.plan.stages import Inventory
from hpc_mlsm.plan.tasks import plan_simulation
from hpc_mlsm.runtime.capacity import planned_workers, sharing
from hpc_mlsm.runtime.resources import usable_cores
from hpc_mlsm.scattering.engines import simulate_structure
from hpc_mlsm.scattering.powder.settings import PowderSettings
from hpc_mlsm.stages import ingest
from hpc_mlsm.stages.context import RunContext, available_memory
from hpc_mlsm.stages.group import current_groups
from hpc_mlsm.stages.network_plan import class_patterns, gpu_of, network_needs, scaled_to
from hpc_mlsm.stages.projected_costs import projected_costs
from hpc_mlsm.stages.simulate import config_hash, selected_keys, set_aside
from hpc_mlsm.stages.train_powder import background_of_run, forest_settings
from hpc_mlsm.stages.train_together import MIN_ROWS
from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.structures.starter import starter_set

TIMED_STRUCTURES = 3

CRYSTAL_SYSTEMS = 7
"""The classes of powder patterns."""


@dataclass(frozen=True)
class PlanSummary:
    """A projection, the memory (bytes) that there is, and what the times rest on.

    ``networks`` is the training of a network: on this machine, then on GPUs; ``forests`` that of all forests.
    """

    projection: Projection
    memory: float
    speed: float
    timed: int
    refusal: str
    networks: tuple[NetworkNeed, ...] = ()
    forests: ForestNeed | None = None


def run(context: RunContext, *, timed: int = TIMED_STRUCTURES, patterns: int | None = None) -> PlanSummary:
    """Read the structures, which is quick and needed anyway, and project the rest.

    ``patterns`` is for how many to project the training of a network, in place of those of the run.

    A few structures of the starter set are simulated and timed, so that the projected times are those of this machine.
    """
    what, speed = inventory(context, timed)
    config, run = context.config, context.run
    workers = planned_workers(config.executor)
    tasks = plan_simulation(what.costs, config.simulate, "", catalogue=run.catalogue, store=run.patterns)
    projection = project(
        list(what.costs),
        len(tasks),
        config.simulate,
        config.train.boosted,
        what.shares,
        workers=workers,
        n_structures=what.structures,
        n_classes=what.classes if what.classes_known else None,
        training_workers=_training_workers(what, config, workers),
    )
    memory = available_memory()
    try:
        trees = config.simulate.kind == "pdf"
        refuse_what_cannot_fit(projection, run.path, memory, sharing=sharing(config.executor), training=trees)
        refusal = ""
    except PlanError as error:
        refusal = str(error)
    return PlanSummary(
        projection,
        memory,
        speed,
        min(timed, len(what.costs)),
        refusal,
        _networks(what, patterns),
        what.forest_need if what.forests else None,
    )


def _networks(what: Inventory, patterns: int | None) -> tuple[NetworkNeed, ...]:
    """Training of the network with all cores here, and on GPUs."""
    if what.network is None:
        return ()
    points, counts = len(what.settings.grid), scaled_to(what.class_patterns, patterns)
    here = network_needs(what.network, points, counts, of_cores(what.network, usable_cores()), (1,))
    return (*here, *network_needs(what.network, points, counts, gpu_of(None)))


def inventory(context: RunContext, timed: int = TIMED_STRUCTURES) -> tuple[Inventory, float]:
    """What there is to do, with costs as of this machine, and how much faster it is than the cost model assumes."""
    ingest.run(context)
    config, run = context.config, context.run
    wanted = selected_keys(run, config.select)
    costs = projected_costs(run, _missing(context, wanted), config.simulate)
    speed = _speed(context, costs, timed)
    known = _known_classes(context)
    what = Inventory(
        costs=[StructureCost(cost.structure_id, cost.seconds / speed, cost.patterns, cost.bytes) for cost in costs],
        structures=len(wanted),
        classes=len(wanted) if known is None else known,
        classes_known=known is not None,
        settings=config.simulate,
        boosted=config.train.boosted,
        shares=(config.split.validation, config.split.test),
        train_workers=None if config.train.workers == "auto" else config.train.workers,
        least_rows=MIN_ROWS,
        network=next(iter(config.networks.values()), None),
        class_patterns=class_patterns(run, config, [key for key, _ in wanted]) if config.networks else (),
        forests=_forests(config),
        folds=config.classify.folds.folds if config.classify.cross_validate else 0,
        background=config.simulate.kind == "powder" and background_of_run(config) is not None,
    )
    return what, speed


def _forests(config: RunConfig) -> tuple[ForestSettings, ...]:
    """Each forest that is trained, once for each data set."""
    chosen = [forest_settings(config, name) for name in config.models if name in FORESTS]
    return tuple(chosen) * len(config.classify.data_sets)


def _training_workers(what: Inventory, config: RunConfig, workers: int) -> int:
    """Among how many of the workers that there are here training is divided."""
    settings = config.executor
    shape = StageShape("train", settings.kind, 1, 1, 1, None, 0, 0, 0, workers=workers)
    ranks = replace(shape, tasks_per_node=workers + OTHER_RANKS) if settings.kind in LAUNCHED else shape
    return what.training_workers(ranks)


def _missing(context: RunContext, wanted: list[tuple[str, str]]) -> list[str]:
    """Structures without patterns, asked of the store where there is one."""
    if not context.run.patterns.is_dir():
        return [key for key, _ in wanted]
    with PatternStore.open(context.run.patterns, "r") as store:
        wanted_hash = config_hash(context.config.simulate)
        aside = set_aside(context.run, wanted, wanted_hash)
        return [key for key in store.missing(wanted, wanted_hash) if key not in aside]


def _known_classes(context: RunContext) -> int | None:
    if isinstance(context.config.simulate, PowderSettings):
        return CRYSTAL_SYSTEMS
    if not context.run.patterns.is_dir():
        return None
    try:
        with PatternStore.open(context.run.patterns, "r") as store:
            return len(current_groups(context.run, store, context.config).groups)
    except (StoreError, RunError):
        return None


def _speed(context: RunContext, costs: list[StructureCost], timed: int) -> float:
    """How much faster this machine is than the cost model assumes: projected over measured time of a few structures.

    They are of the starter set, which is known to crash no process, unlike what the run is about.
    """
    if not costs or timed < 1:
        return 1.0
    settings, known = context.config.simulate, starter_set()
    picked = [known[int(k)] for k in np.linspace(0, len(known) - 1, min(timed, len(known)))]
    projected = measured = 0.0
    for structure in picked:
        try:
            simulate_structure(structure, settings)  # compiles the kernels
            start = time.process_time()  # what else the machine does is not counted
            simulate_structure(structure, settings)
        except StructureError:
            continue  # none of its lines is in the range
        measured += time.process_time() - start
        projected += structure_cost(structure, settings).seconds
    return projected / measured if measured > 0 else 1.0
