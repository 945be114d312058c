"""Simulate: base pattern and variants of every structure, into the store."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hpc_mlsm import __version__
from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.catalog.select import select_keys
from hpc_mlsm.catalog.selection import Selection
from hpc_mlsm.config.fingerprint import fingerprint
from hpc_mlsm.durable import write_durably
from hpc_mlsm.errors import ExecutorError, HpcMlsmError, RunError, StoreError, StructureError
from hpc_mlsm.plan.tasks import SimulateTask, plan_simulation
from hpc_mlsm.runtime.events import stage_events
from hpc_mlsm.runtime.once_a_node import once_a_node
from hpc_mlsm.scattering.compiled import compile_kernels, compiles, kernels_stamp
from hpc_mlsm.scattering.engines import engine_version, get_engine, simulate_structure
from hpc_mlsm.scattering.kinds import PatternSettings
from hpc_mlsm.scattering.powder.settings import PowderSettings
from hpc_mlsm.scattering.simulated import SimulatedStructure
from hpc_mlsm.stages.context import RunContext
from hpc_mlsm.stages.projected_costs import projected_costs
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.store.schema import Axis, ShardContent, ShardRecord, shard_name
from hpc_mlsm.store.shard import write_shard
from hpc_mlsm.structures.structure import Reject

STAGE = "simulate"
QUARANTINE = "quarantine.json"
DEAD_SHARE = 0.25
"""Of a shard's structures, above which it is rewritten without those that were withdrawn or changed."""

MAX_WRITE_FAILURES = 3
"""After so many shards that could not be written the stage stops."""


@dataclass(frozen=True)
class TaskResult:
    """What a worker reports: the shard it wrote, if any structure succeeded, and the structures it refused."""

    record: ShardRecord | None
    rejects: tuple[Reject, ...]


@dataclass(frozen=True)
class SimulateSummary:
    """What the stage did."""

    structures: int
    already_there: int
    simulated: int
    quarantined: int
    shards_written: int
    shards_adopted: int
    shards_damaged: int
    dropped: int = 0
    shards_compacted: int = 0


def config_hash(settings: PatternSettings) -> str:
    """Names the parameters and the engine's version; patterns with another hash are computed anew."""
    return fingerprint(settings, engine_version(settings))


def selected_keys(run: RunDirectory, selection: Selection) -> list[tuple[str, str]]:
    """(id, content hash) of the structures that the run's selection keeps, by id."""
    with Catalogue(run.catalogue, read_only=True) as catalogue:
        kept = set(select_keys(catalogue, selection).ids)
        inventory = catalogue.keys()
    return [(key, content) for key, content in inventory if key in kept]


def run(context: RunContext, *, thorough: bool = True) -> SimulateSummary:
    """Simulate what is missing.

    Finished shards of an earlier run that was killed are taken over, damaged ones are set aside and redone. When all is
    there, patterns of withdrawn or changed structures and of other parameters are dropped, and leave the disk too
    where they are much of their shard.

    Parameters
    ----------
    thorough
        Read all shards and compare their checksums. Without it only their sizes are: damage is then found, by other
        checksums, when a pattern is read, and mended by a thorough run.
    """
    run, settings = context.run, context.config.simulate
    if not isinstance(settings, PowderSettings):
        get_engine(settings.engine)  # refuses an engine that is not installed before anything is done
    wanted = selected_keys(run, context.config.select)
    wanted_hash = config_hash(settings)
    with PatternStore.open(run.patterns, "a") as store:
        adopted = store.adopt(wanted_hash).adopted
        damaged = store.verify(full=thorough).bad
        for name in damaged:
            context.note(STAGE, f"shard {name} is damaged or missing and will be redone")
        quarantine = _Quarantine(run.patterns / QUARANTINE, wanted_hash)
        aside = quarantine.ids(wanted)
        missing = [key for key in store.missing(wanted, wanted_hash) if key not in aside]
        tasks = _tasks(context, wanted, missing, aside, wanted_hash)
        written, rejected, failures = _simulate(context, store, tasks)
        quarantine.add(rejected, dict(wanted))
        for reject in rejected:
            context.set_aside(STAGE, reject)
        quarantined = len(quarantine.ids(wanted))
        if failures:
            raise RunError(
                f"{len(failures)} of {len(tasks)} simulation tasks failed, {written} shards were written; the first "
                f"failure: {failures[0]}"
            )
        # Only now: a run that fails, or is called back, has not thrown away the patterns of the parameters before.
        dropped = store.drop(wanted, wanted_hash)
        compacted = store.compact(DEAD_SHARE)
    return SimulateSummary(
        structures=len(wanted),
        already_there=len(wanted) - len(missing) - quarantined + len(rejected),
        simulated=len(missing) - len(rejected),
        quarantined=quarantined,
        shards_written=written,
        shards_adopted=len(adopted),
        shards_damaged=len(damaged),
        dropped=dropped,
        shards_compacted=compacted,
    )


def _tasks(
    context: RunContext, wanted: Sequence[tuple[str, str]], missing: Sequence[str], aside: set[str], wanted_hash: str
) -> list[SimulateTask]:
    if not missing:
        return []
    run, settings = context.run, context.config.simulate
    return plan_simulation(
        projected_costs(run, [key for key, _ in wanted], settings),
        settings,
        wanted_hash,
        catalogue=run.catalogue.resolve(),
        store=run.patterns.resolve(),
        missing=missing,
        aside=aside,
    )


def _simulate(
    context: RunContext, store: PatternStore, tasks: list[SimulateTask]
) -> tuple[int, list[Reject], list[HpcMlsmError]]:
    """Hand out the tasks and record what comes back: shards written, structures refused, tasks that failed."""
    if not tasks:
        return 0, [], []
    written = 0
    rejected: list[Reject] = []
    failures: list[HpcMlsmError] = []
    units = sum(task.units for task in tasks)
    with stage_events(
        context.on_event, STAGE, n_tasks=len(tasks), units="patterns", n_units=units, **context.size
    ) as listener:
        for outcome in context.executor.map_tasks(simulate_task, tasks, stage=STAGE, on_event=listener):
            if outcome.value is None:
                error = outcome.error or RunError("the task ended without a result")
                if len(outcome.task.structure_ids) == 1 and isinstance(error, ExecutorError):
                    rejected.append(Reject(outcome.task.structure_ids[0], "", "killed_worker", str(error)))
                else:
                    failures.append(error)
                if sum(isinstance(failure, StoreError) for failure in failures) >= MAX_WRITE_FAILURES:
                    break  # a disk that takes no more shards will take none of the rest
                continue
            rejected += outcome.value.rejects
            if outcome.value.record is not None:
                store.record(outcome.value.record)
                written += 1
    return written, rejected, failures


def simulate_task(task: SimulateTask) -> TaskResult:
    """Simulate the structures of one task and write their shard; runs on a worker."""
    if compiles(task.settings):
        once_a_node(kernels_stamp(task.settings), partial(compile_kernels, task.settings))
    simulated: list[SimulatedStructure] = []
    rejects: list[Reject] = []
    with Catalogue(task.catalogue, read_only=True) as catalogue:
        for structure in catalogue.structures(task.structure_ids):
            try:
                simulated.append(simulate_structure(structure, task.settings))
            except StructureError as error:
                rejects.append(Reject(structure.id, structure.source, error.reason, error.detail))
            except (ArithmeticError, ValueError, np.linalg.LinAlgError) as error:
                detail = f"{structure.id}: {type(error).__name__} in the simulation: {error}"
                rejects.append(Reject(structure.id, structure.source, "simulation_failed", detail))
    if not simulated:
        return TaskResult(None, tuple(rejects))
    content = _shard(simulated, task)
    keys = list(zip(content.structure_ids, content.content_hashes, strict=True))
    return TaskResult(write_shard(task.store, shard_name(task.config_hash, keys), content), tuple(rejects))


def _shard(simulated: Sequence[SimulatedStructure], task: SimulateTask) -> ShardContent:
    counts = [len(one.patterns) for one in simulated]
    names = simulated[0].parameters
    return ShardContent(
        **_form(task.settings),
        structure_ids=tuple(one.structure_id for one in simulated),
        content_hashes=tuple(one.content_hash for one in simulated),
        base=np.stack([one.base for one in simulated]),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        patterns=np.concatenate([one.patterns for one in simulated]),
        parameters={
            name: (unit, np.concatenate([one.parameters[name][1] for one in simulated]))
            for name, (unit, _) in names.items()
        },
        variants=np.concatenate([np.arange(count, dtype=np.int64) for count in counts]),
        config_hash=task.config_hash,
        code_version=__version__,
    )


def _form(settings: PatternSettings) -> dict[str, Any]:
    """What a shard says of its patterns: their kind, axis, signal, and who computed them."""
    if isinstance(settings, PowderSettings):
        axis = Axis("two_theta", "degree", settings.grid.two_theta)
        unit = "electrons^2/angstrom^6/degree" if settings.largest == 0 else ""
        return {"kind": "powder", "axis": axis, "signal": "intensity", "signal_unit": unit, "engine": "native"}
    axis = Axis("r", "angstrom", settings.grid.r)
    return {"kind": "pdf", "axis": axis, "signal": "G", "signal_unit": "1/angstrom^2", "engine": settings.engine}


class _Quarantine:
    """Structures that cannot be simulated under these parameters, so that they are not tried each time."""

    def __init__(self, path: Path, wanted_hash: str) -> None:
        self.path, self.wanted_hash = path, wanted_hash
        try:
            self.rows: list[dict[str, str]] = json.loads(path.read_text())
        except (FileNotFoundError, ValueError):
            self.rows = []

    def ids(self, wanted: Sequence[tuple[str, str]]) -> set[str]:
        """Those of the wanted structures that are set aside."""
        known = {(row["id"], row["content_hash"]) for row in self.rows if row["config_hash"] == self.wanted_hash}
        return {key for key, content in wanted if (key, content) in known}

    def add(self, rejects: Sequence[Reject], contents: dict[str, str]) -> None:
        """Set structures aside."""
        if not rejects:
            return
        for reject in rejects:
            key = {"content_hash": contents[reject.id], "config_hash": self.wanted_hash}
            self.rows.append(asdict(reject) | key)
        write_durably(self.path, json.dumps(self.rows, indent=1).encode())


def set_aside(run: RunDirectory, wanted: Sequence[tuple[str, str]], wanted_hash: str) -> set[str]:
    """Ids of the structures, of those wanted, that were set aside under these settings and are not tried again."""
    return _Quarantine(run.patterns / QUARANTINE, wanted_hash).ids(wanted)


def quarantined(run: RunDirectory) -> list[Reject]:
    """Structures that were set aside by the simulation of a run."""
    rows = _Quarantine(run.patterns / QUARANTINE, "").rows
    return [Reject(row["id"], row["source"], row["reason"], row["detail"]) for row in rows]
