"""Plan: what a run will need in time, memory and disk, before anything large is started."""

import time
from dataclasses import dataclass

import numpy as np

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.errors import PlanError, RunError, StoreError
from hpc_mlsm.plan.cost import StructureCost
from hpc_mlsm.plan.projection import Projection, project, refuse_what_cannot_fit
from hpc_mlsm.plan.tasks import plan_simulation
from hpc_mlsm.runtime.resources import usable_cores
from hpc_mlsm.scattering.engines import simulate_structure
from hpc_mlsm.scattering.powder.settings import PowderSettings
from hpc_mlsm.stages import ingest
from hpc_mlsm.stages.context import RunContext, available_memory
from hpc_mlsm.stages.group import current_groups
from hpc_mlsm.stages.simulate import config_hash, project_costs, selected_keys
from hpc_mlsm.store.patterns import PatternStore

TIMED_STRUCTURES = 3

CRYSTAL_SYSTEMS = 7
"""The classes of powder patterns."""


@dataclass(frozen=True)
class PlanSummary:
    """A projection, the memory (bytes) that there is, and what the times rest on."""

    projection: Projection
    memory: float
    speed: float
    timed: int
    refusal: str


def run(context: RunContext, *, timed: int = TIMED_STRUCTURES) -> PlanSummary:
    """Read the structures, which is quick and needed anyway, and project the rest.

    A few structures are simulated and timed, so that the projected times are those of this machine.
    """
    ingest.run(context)
    config, run = context.config, context.run
    wanted = selected_keys(run, config.select)
    missing = _missing(context, wanted)
    costs = project_costs(run, missing, config.simulate)
    speed = _speed(context, costs, timed)
    costs = [StructureCost(cost.structure_id, cost.seconds / speed, cost.patterns, cost.bytes) for cost in costs]
    workers = config.executor.workers or usable_cores()
    tasks = plan_simulation(costs, config.simulate, "", catalogue=run.catalogue, store=run.patterns, workers=workers)
    projection = project(
        costs,
        len(tasks),
        config.simulate,
        config.train.boosted,
        (config.split.validation, config.split.test),
        workers=workers,
        n_structures=len(wanted),
        n_classes=_known_classes(context),
    )
    memory = available_memory()
    try:
        refuse_what_cannot_fit(projection, run.path, memory)
        refusal = ""
    except PlanError as error:
        refusal = str(error)
    return PlanSummary(projection, memory, speed, min(timed, len(costs)), refusal)


def _missing(context: RunContext, wanted: list[tuple[str, str]]) -> list[str]:
    """Structures without patterns, asked of the store where there is one."""
    if not context.run.patterns.is_dir():
        return [key for key, _ in wanted]
    with PatternStore.open(context.run.patterns, "r") as store:
        return store.missing(wanted, config_hash(context.config.simulate))


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
    """How much faster this machine is than the cost model assumes: projected over measured time of a few structures."""
    ordered = sorted(costs, key=lambda cost: cost.seconds)
    if not ordered or timed < 1:
        return 1.0
    # From the cheaper half, so that timing is short; spread, so that no single kind of structure decides.
    picked = [ordered[int(k)] for k in np.linspace(0, (len(ordered) - 1) // 2, min(timed, len(ordered)))]
    settings = context.config.simulate
    with Catalogue(context.run.catalogue, read_only=True) as catalogue:
        structures = list(catalogue.structures([cost.structure_id for cost in picked]))
    simulate_structure(structures[0], settings)  # compiles the kernels
    start = time.perf_counter()
    for structure in structures:
        simulate_structure(structure, settings)
    return sum(cost.seconds for cost in picked) / max(time.perf_counter() - start, 1e-9)
