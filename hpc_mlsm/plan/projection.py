"""What a whole run needs in time, memory and disk, and whether that fits."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from hpc_mlsm.errors import PlanError
from hpc_mlsm.models.projection import TrainingMemory, boosted_memory, remedy
from hpc_mlsm.models.settings import BoostedSettings
from hpc_mlsm.plan.cost import StructureCost
from hpc_mlsm.plan.tasks import rows_at_most
from hpc_mlsm.scattering.kinds import PatternSettings

SECONDS_PER_CELL = {"per_class": 2.4e-10, "vector": 4.8e-10}
"""A boosting round costs this per training row, point, level and class, on one core (XGBoost 3.2 hist, 64 bins).

Rows and points that are not sampled cost as much: XGBoost sets their gradients to zero and goes through them.
"""

WORKER_BYTES = 3e8
"""Of a worker that does nothing: interpreter, libraries, compiled kernels."""

BYTES_PER_PATTERN_VALUE = 12.0
"""Of a pattern while its shard is put together and compressed: two copies in float32, and the image of the file."""

DISK_MARGIN = 1.1


@dataclass(frozen=True)
class Projection:
    """What a run needs; seconds are wall time on the given number of workers, sizes are bytes."""

    structures: int
    patterns: int
    tasks: int
    workers: int
    simulate_seconds: float
    simulate_memory: float
    store_bytes: float
    group_memory: float
    group_flops: float
    classes: int
    classes_known: bool
    training: TrainingMemory
    train_seconds_per_round: float
    training_workers: int = 1


def project(
    costs: list[StructureCost],
    n_tasks: int,
    settings: PatternSettings,
    boosted: BoostedSettings,
    shares: tuple[float, float],
    *,
    workers: int,
    n_structures: int,
    n_classes: int | None,
    training_workers: int = 1,
) -> Projection:
    """Project a run.

    Parameters
    ----------
    costs
        Of the structures that are still to be simulated.
    n_tasks
        Into which they are divided.
    shares
        Shares of the variants for validation and test.
    n_structures
        All structures of the run, simulated or not.
    n_classes
        Number of groups where it is known; otherwise one a structure is assumed, which is the most.
    training_workers
        Among how many workers the training rows are divided; ``training`` is then the memory of each.
    """
    points = len(settings.grid)
    rows = n_structures * settings.variants
    train_rows = round(rows * (1 - sum(shares)))
    classes = n_structures if n_classes is None else n_classes
    patterns = sum(cost.patterns for cost in costs)
    return Projection(
        structures=n_structures,
        patterns=patterns,
        tasks=n_tasks,
        workers=workers,
        simulate_seconds=sum(cost.seconds for cost in costs) / workers,
        simulate_memory=WORKER_BYTES
        + BYTES_PER_PATTERN_VALUE * points * _rows_of_a_task(costs, patterns, n_tasks, points),
        store_bytes=sum(cost.bytes for cost in costs),
        group_memory=1e9 + min(4.0 * n_structures * points, 1e9),
        group_flops=float(n_structures) ** 2 * points,
        classes=classes,
        classes_known=n_classes is not None,
        training=boosted_memory(
            train_rows, round(rows * shares[0]), points, classes, boosted, workers=training_workers
        ),
        train_seconds_per_round=SECONDS_PER_CELL[boosted.trees]
        * (train_rows * points * boosted.max_depth * classes / workers),
        training_workers=training_workers,
    )


def _rows_of_a_task(costs: list[StructureCost], patterns: int, n_tasks: int, points: int) -> float:
    """Patterns in the largest task: tasks are alike in cost, so that one of cheap structures may have many more."""
    if not costs:
        return 0
    return max(
        max(cost.patterns for cost in costs), min(rows_at_most(points), 3 * patterns / max(1, n_tasks), patterns)
    )


def refuse_what_cannot_fit(
    projection: Projection, run: Path, memory: float, *, sharing: int | None = None, training: bool = True
) -> None:
    """Refuse a run whose store, workers or training cannot fit.

    Parameters
    ----------
    memory
        Bytes that are free on this machine.
    sharing
        How many of the workers are on it; None for all, 0 where workers are jobs that ask for memory themselves.
    training
        Whether trees are trained.

    Raises
    ------
    PlanError
        With the figure and the remedy.
    """
    place, free = disk_of(run)
    needed = projection.store_bytes * DISK_MARGIN
    if needed > free:
        raise PlanError(
            f"the patterns need about {needed / 1e9:.1f} GB on disk, {place} has {free / 1e9:.1f} GB free; "
            "lower simulate.variants, or put the run on a larger disk with --run"
        )
    sharing = projection.workers if sharing is None else sharing
    each = projection.simulate_memory
    fitting = int(memory / max(each, 1.0))
    if projection.patterns and fitting < sharing:
        raise PlanError(
            f"{sharing} workers need about {sharing * each / 1e9:.1f} GB for simulation "
            f"({each / 1e9:.1f} GB each), {memory / 1e9:.1f} GB are free; "
            + (f"set executor.workers to {fitting}" if fitting else "use a machine with more memory")
        )
    if sharing and training:
        refuse_training_that_cannot_fit(projection.training, memory / min(sharing, projection.training_workers))


def disk_of(run: Path) -> tuple[Path, int]:
    """The folder that is there of a run's path, and the bytes that are free on its disk."""
    existing = next(folder for folder in (run, *run.resolve().parents) if folder.exists())
    return existing, shutil.disk_usage(existing).free


def refuse_training_that_cannot_fit(training: TrainingMemory, memory: float) -> None:
    """Refuse training that needs more than the memory there is.

    Raises
    ------
    PlanError
        With the figure and the remedy.
    """
    if training.total > memory:
        raise PlanError(
            f"training needs about {training.total / 1e9:.1f} GB (of it {training.gradients / 1e9:.1f} GB gradients: "
            f"rows × classes × 8 bytes), {memory / 1e9:.1f} GB are free; {remedy(training, memory)}"
        )
