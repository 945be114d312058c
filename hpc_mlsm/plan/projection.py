"""What a whole run needs in time, memory and disk, and whether that fits."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from hpc_mlsm.errors import PlanError
from hpc_mlsm.models.projection import TrainingMemory, boosted_memory, remedy
from hpc_mlsm.models.settings import BoostedSettings
from hpc_mlsm.plan.cost import StructureCost
from hpc_mlsm.scattering.settings import PdfSettings

SECONDS_PER_TREE_CELL = 1.1e-9
"""Growing one tree costs this per row, sampled point and level, on one core (XGBoost hist, 64 bins)."""

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


def project(
    costs: list[StructureCost],
    n_tasks: int,
    settings: PdfSettings,
    boosted: BoostedSettings,
    shares: tuple[float, float],
    *,
    workers: int,
    n_structures: int,
    n_classes: int | None,
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
    """
    points = len(settings.grid)
    rows = n_structures * settings.variants
    train_rows = round(rows * (1 - sum(shares)))
    classes = n_structures if n_classes is None else n_classes
    trees = classes if boosted.trees == "per_class" else 1
    per_tree = train_rows * boosted.subsample * points * boosted.colsample_bytree * boosted.max_depth
    width = 1 if boosted.trees == "per_class" else classes
    largest = max((cost.patterns for cost in costs), default=0)
    return Projection(
        structures=n_structures,
        patterns=sum(cost.patterns for cost in costs),
        tasks=n_tasks,
        workers=workers,
        simulate_seconds=sum(cost.seconds for cost in costs) / workers,
        simulate_memory=3e8 + 12.0 * points * max(largest, 50_000 if n_tasks else 0),
        store_bytes=sum(cost.bytes for cost in costs),
        group_memory=4.0 * n_structures * points + 1e9,
        group_flops=float(n_structures) ** 2 * points,
        classes=classes,
        classes_known=n_classes is not None,
        training=boosted_memory(train_rows, round(rows * shares[0]), points, classes, boosted),
        train_seconds_per_round=trees * width * per_tree * SECONDS_PER_TREE_CELL / workers,
    )


def refuse_what_cannot_fit(projection: Projection, run: Path, memory: float) -> None:
    """Refuse a run whose store or training cannot fit.

    Raises
    ------
    PlanError
        With the figure and the remedy.
    """
    existing = next(folder for folder in (run, *run.resolve().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    needed = projection.store_bytes * DISK_MARGIN
    if needed > free:
        raise PlanError(
            f"the patterns need about {needed / 1e9:.1f} GB on disk, {existing} has {free / 1e9:.1f} GB free; "
            "lower simulate.variants, or put the run on a larger disk with --run"
        )
    refuse_training_that_cannot_fit(projection.training, memory)


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
