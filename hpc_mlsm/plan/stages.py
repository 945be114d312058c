"""What each stage of a run needs on the part of a cluster that it is given: wall time, core-hours, memory, disk."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hpc_mlsm.grouping.tasks import HERE_S, number_of_tasks
from hpc_mlsm.models.cnn_cost import network_cost
from hpc_mlsm.models.cnn_settings import CnnSettings
from hpc_mlsm.models.forest_settings import ForestSettings
from hpc_mlsm.models.projection import TrainingMemory, boosted_memory
from hpc_mlsm.models.settings import BoostedSettings
from hpc_mlsm.plan.cost import StructureCost
from hpc_mlsm.plan.forests import ForestNeed, forest_need
from hpc_mlsm.plan.networks import Accelerator, network_need, of_cores
from hpc_mlsm.plan.projection import BYTES_PER_PATTERN_VALUE, SECONDS_PER_CELL, WORKER_BYTES
from hpc_mlsm.plan.shape import StageShape, goes
from hpc_mlsm.plan.tasks import TASK_SECONDS, rows_at_most
from hpc_mlsm.plan.tasks import number_of_tasks as simulation_tasks
from hpc_mlsm.scattering.kinds import PatternSettings

STARTUP_S = 10.0
"""Until workers are there and have compiled the kernels."""

SECONDS_PER_STRUCTURE_READ = 6.7e-3
"""Reading and checking one CIF on one core: 300 a second on two."""

GROUP_FLOPS = 1.0e11
"""Structures² × points that one core correlates in a second, none of them excluded by bounds."""

SECONDS_PER_STRUCTURE_LINKED = 2e-5
"""Of reading panels, linkage and the correlations within groups, in one process."""

SECONDS_PER_TREE = 6.0e-9
"""Of sending one pattern through one tree, on one core (depth 5)."""

NETWORK_BYTES = 1.0e9
"""Bytes a second between nodes, of the histograms that workers add up in training; of a cluster's slower networks."""

MODEL_BYTES = 1.2
"""Of a tree on disk, for each byte that it is reckoned at in memory."""

REPORT_S = 60.0


@dataclass(frozen=True)
class Inventory:
    """What there is to do, whatever it is done on.

    Attributes
    ----------
    costs
        Of the structures that are still to be simulated, in seconds of one core as here.
    structures, classes, classes_known
        Of the whole run; a class a structure where the groups are not known.
    shares
        Of the variants for validation and test.
    train_workers
        Over how many workers training is to be divided; None leaves it to the executor.
    least_rows
        Training rows that a worker has at least; training takes fewer workers where there are not so many.
    network, class_patterns, gpu
        Where a network is trained in place of trees: its settings, the patterns of each class, and what a GPU is like.
    forests, folds, background
        Of runs of powder patterns: each forest once for each data set; folds of the cross-validation, 0 for none; and
        whether patterns have a background.
    """

    costs: Sequence[StructureCost]
    structures: int
    classes: int
    classes_known: bool
    settings: PatternSettings
    boosted: BoostedSettings
    shares: tuple[float, float]
    train_workers: int | None = None
    least_rows: int = 50
    network: CnnSettings | None = None
    class_patterns: tuple[int, ...] = ()
    gpu: Accelerator | None = None
    forests: tuple[ForestSettings, ...] = ()
    folds: int = 0
    background: bool = False

    @property
    def forest_need(self) -> ForestNeed:
        """What the forests need, on one core."""
        rows, points = self.structures * self.settings.variants, len(self.settings.grid)
        return forest_need(rows, points, self.forests, self.folds, background=self.background)

    @property
    def rows(self) -> tuple[int, int, int]:
        """Training, validation and test patterns."""
        rows = self.structures * self.settings.variants
        parts = [round(rows * share) for share in self.shares]
        return rows - sum(parts), parts[0], parts[1]

    @property
    def patterns(self) -> int:
        """Still to be simulated."""
        return sum(cost.patterns for cost in self.costs)

    @property
    def seconds(self) -> float:
        """Of simulation on one core."""
        return sum(cost.seconds for cost in self.costs)

    @property
    def store_bytes(self) -> float:
        """Of the patterns that are still to be simulated."""
        return sum(cost.bytes for cost in self.costs)

    def training(self, workers: int) -> TrainingMemory:
        """Memory of each of so many training workers."""
        train, validation, _ = self.rows
        points = len(self.settings.grid)
        return boosted_memory(train, validation, points, self.classes, self.boosted, workers=workers)

    def training_workers(self, shape: StageShape) -> int:
        """Among how many workers of that shape training is divided."""
        if self.network is not None:
            return shape.processes if shape.executor == "ranks" else 1
        asked = self.train_workers
        if asked is None:
            asked = shape.processes if shape.distributed and self.boosted.trees == "per_class" else 1
        train, validation, _ = self.rows
        return max(1, min(asked, train // self.least_rows, validation))

    @property
    def model_bytes(self) -> float:
        """Of the trained model on disk, at most."""
        if self.network is not None:
            return 4.0 * network_cost(self.network, len(self.settings.grid), len(self.class_patterns)).parameters
        if self.forests:
            return self.forest_need.disk
        return MODEL_BYTES * self.training(1).trees


@dataclass(frozen=True)
class StageNeed:
    """One stage on one shape; sizes in bytes, times in seconds of wall time.

    Attributes
    ----------
    tasks
        Pieces that are handed out; 1 where the stage is one computation.
    workers
        Processes that they are handed to.
    unit_s, unit
        The longest piece that has to be finished in one go, and what it is.
    memory_each
        What each process needs.
    disk
        What the stage writes.
    measured
        Whether the times are projected at all.
    device_bytes
        On each GPU.
    """

    shape: StageShape
    tasks: int
    workers: int
    seconds: float
    unit_s: float
    unit: str
    memory_each: float
    disk: float = 0.0
    measured: bool = True
    device_bytes: float = 0.0

    @property
    def stage(self) -> str:
        """Its name."""
        return self.shape.stage

    @property
    def core_hours(self) -> float:
        """What the job is charged, where cores are charged by wall time."""
        return self.seconds * self.shape.cores / 3600

    @property
    def requeues(self) -> int:
        """How often the job comes back into the queue before the stage is done."""
        return goes(self.seconds, self.shape) - 1


def stage_need(what: Inventory, shape: StageShape) -> StageNeed:
    """Project one stage."""
    projected = {
        "ingest": _ingest,
        "simulate": _simulate,
        "group": _group,
        "train": _train,
        "evaluate": _evaluate,
    }.get(shape.stage)
    if projected is None:
        return StageNeed(shape, 1, 1, REPORT_S, 0.0, "", WORKER_BYTES, measured=False)
    return projected(what, shape)


def _ingest(what: Inventory, shape: StageShape) -> StageNeed:
    total = what.structures * SECONDS_PER_STRUCTURE_READ
    workers = shape.processes
    seconds = STARTUP_S + total / workers
    tasks = max(1, min(what.structures, round(total / TASK_SECONDS)))
    return StageNeed(shape, tasks, workers, seconds, min(total, TASK_SECONDS), "one task", 2 * WORKER_BYTES)


def _simulate(what: Inventory, shape: StageShape) -> StageNeed:
    workers, rows = shape.processes, what.settings.variants + 1
    if not what.costs:
        return StageNeed(shape, 0, workers, 0.0, 0.0, "", WORKER_BYTES)
    total = what.seconds
    at_most = rows_at_most(len(what.settings.grid))
    tasks = simulation_tasks(total, what.patterns, len(what.costs), at_most)
    structure = max(cost.seconds for cost in what.costs)
    longest = max(structure, total / tasks)
    largest = max(max(cost.patterns for cost in what.costs), min(at_most, 3 * what.patterns / tasks, what.patterns))
    return StageNeed(
        shape,
        tasks,
        workers,
        STARTUP_S + max(total / workers, longest),
        longest,
        "the longest task" + (f" (one structure of {rows} patterns)" if structure >= total / tasks else ""),
        WORKER_BYTES + BYTES_PER_PATTERN_VALUE * len(what.settings.grid) * largest,
        what.store_bytes,
    )


def _group(what: Inventory, shape: StageShape) -> StageNeed:
    points = len(what.settings.grid)
    total = float(what.structures) ** 2 * points / GROUP_FLOPS
    tasks = number_of_tasks(what.structures)
    here = total <= HERE_S
    workers = 1 if here else min(tasks, shape.processes)
    cores = shape.tasks_per_node * shape.cpus_per_task if here else workers * shape.worker_cores
    linked = what.structures * SECONDS_PER_STRUCTURE_LINKED
    memory = 1e9 + min(4.0 * what.structures * points, 1e9)
    seconds = STARTUP_S + total / cores + linked
    return StageNeed(shape, tasks, workers, seconds, total / tasks + linked, "one task, and the linkage", memory)


def _train(what: Inventory, shape: StageShape) -> StageNeed:
    workers = what.training_workers(shape)
    if what.network is not None:
        return _network(what, what.network, shape, workers)
    if what.forests:
        need = what.forest_need
        return _forests(shape, need, need.peaks_s + need.training_s, need.disk)
    n_cores = workers * shape.worker_cores if workers > 1 else _cores_of_one(shape)
    train, _, _ = what.rows
    points, boosted = len(what.settings.grid), what.boosted
    each = what.training(workers)
    a_round = SECONDS_PER_CELL[boosted.trees] * train * points * boosted.max_depth * what.classes / n_cores
    if workers > 1:
        trees = what.classes if boosted.trees == "per_class" else 1
        # Of each pair of nodes one is summed, and each sum crosses the network twice.
        a_round += each.histograms * trees / NETWORK_BYTES
    return StageNeed(
        shape,
        boosted.rounds,
        workers,
        STARTUP_S + a_round * boosted.rounds,
        a_round,
        "one boosting round",
        each.total + WORKER_BYTES,
        what.model_bytes,
    )


def _forests(shape: StageShape, need: ForestNeed, total: float, disk: float) -> StageNeed:
    workers = shape.processes if shape.executor != "inline" else 1
    seconds = STARTUP_S + total / workers
    tasks = max(1, round(total / max(need.task_s, 1e-3)))
    return StageNeed(shape, tasks, workers, seconds, need.task_s, "the longest task", WORKER_BYTES + need.memory, disk)


def _network(what: Inventory, settings: CnnSettings, shape: StageShape, ranks: int) -> StageNeed:
    on = what.gpu if shape.gpus and what.gpu is not None else of_cores(settings, shape.cpus_per_task)
    folds = max(2, round(1 / what.shares[0]))
    need = network_need(settings, len(what.settings.grid), what.class_patterns, folds, on, ranks)
    longest = min(need.epoch_s, 60 * settings.checkpoint_minutes)
    return StageNeed(
        shape,
        settings.epochs,
        ranks,
        need.training_s,
        longest,
        "the time between two checkpoints",
        need.rank_bytes,
        need.disk_bytes,
        device_bytes=need.device_bytes,
    )


def _cores_of_one(shape: StageShape) -> int:
    return shape.workers or shape.cpus_per_task if shape.executor in ("inline", "local") else shape.cpus_per_task


def _evaluate(what: Inventory, shape: StageShape) -> StageNeed:
    if what.network is not None or what.forests:
        return _cross_validation(what, shape)
    rows = what.rows[2]
    seconds = rows * what.classes * what.boosted.rounds * SECONDS_PER_TREE / shape.cpus_per_task
    memory = WORKER_BYTES + what.training(1).trees + 8.0 * rows * len(what.settings.grid) + 4e8
    return StageNeed(shape, 1, 1, STARTUP_S + seconds, seconds, "scoring, which begins anew", memory)


def _cross_validation(what: Inventory, shape: StageShape) -> StageNeed:
    """All folds of networks and forests, each on one worker at a time."""
    need = what.forest_need
    found = _forests(shape, need, need.folds_s if what.folds else 0.0, 60.0 * what.structures * what.settings.variants)
    if what.network is None or not what.folds:
        return found
    settings = what.network
    on = what.gpu if shape.gpus and what.gpu is not None else of_cores(settings, shape.cpus_per_task)
    network = network_need(settings, len(what.settings.grid), what.class_patterns, what.folds, on, found.workers)
    return replace(
        found,
        seconds=found.seconds + network.folds_s,
        unit_s=max(found.unit_s, min(network.epoch_s, 60 * settings.checkpoint_minutes)),
        unit="the time between two checkpoints",
        memory_each=max(found.memory_each, network.rank_bytes),
        disk=found.disk + network.disk_bytes * what.folds,
        device_bytes=network.device_bytes,
    )
