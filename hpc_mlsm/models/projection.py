"""What training costs in memory, before it starts."""

from dataclasses import dataclass

from hpc_mlsm.models.settings import BoostedSettings

BYTES_PER_NODE = 75.0
"""Of one node of a tree in memory; measured with XGBoost 3.2."""


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes that gradient boosting needs at once, by purpose."""

    gradients: float
    margins: float
    binned: float
    histograms: float
    trees: float

    @property
    def total(self) -> float:
        """Sum of the parts."""
        return self.gradients + self.margins + self.binned + self.histograms + self.trees


def boosted_memory(
    train_rows: int, valid_rows: int, n_points: int, n_classes: int, settings: BoostedSettings, *, workers: int = 1
) -> TrainingMemory:
    """Memory of training gradient-boosted trees, besides the 0.3 GB of the program and its first steps.

    With several workers it is the memory of each. The rows are divided among them; histograms and trees are the same
    on all, and as large as if one process had all rows.

    Per row and class, gradients take a float pair (8 bytes) for training rows, and margins a float for training rows
    and two for validation rows, whose loss is computed on a copy. Binned data are kept by rows and by columns, each
    with a byte (two above 256 bins) per row and point. Histograms take a double pair per bin, point and node that is
    split or could be (for vector leaves, and class). Trees count as full in every round, which they hardly are; the
    difference pays for the copies that are made while a checkpoint is written.
    """
    nodes = _nodes(train_rows, n_classes, settings)
    train_rows, valid_rows = -(-train_rows // workers), -(-valid_rows // workers)
    per_tree, trees = (n_classes, 1) if settings.trees == "vector" else (1, n_classes)
    return TrainingMemory(
        gradients=8.0 * train_rows * n_classes,
        margins=(4.0 * train_rows + 8.0 * valid_rows) * n_classes,
        binned=2.0 * (1 if settings.max_bin <= 256 else 2) * (train_rows + valid_rows) * n_points,
        histograms=16.0 * settings.max_bin * n_points * nodes / 2 * per_tree,
        trees=(BYTES_PER_NODE + 4.0 * (per_tree - 1)) * settings.rounds * trees * nodes,
    )


def _nodes(train_rows: int, n_classes: int, settings: BoostedSettings) -> float:
    """Nodes of one tree at most: by its depth, by its rows, and by the curvature that each leaf needs.

    The second derivatives of the loss start as 2 p (1 - p) with p = 1 / classes, and shrink.
    """
    rows = train_rows * settings.subsample
    leaves = min(2.0**settings.max_depth, rows)
    if settings.trees == "per_class" and settings.min_child_weight > 0:
        curvature = 2 * rows * (1 - 1 / n_classes) / n_classes
        leaves = min(leaves, max(1.0, curvature / settings.min_child_weight))
    return 2 * leaves


def remedy(memory: TrainingMemory, available: float) -> str:
    """What to change so that training fits."""
    if memory.histograms > 0.5 * memory.total:
        return "lower train.boosted.max_bin or max_depth, or set train.boosted.trees to per_class"
    share = available / memory.total
    fewer_rows = f"lower simulate.variants to about {share:.0%} of what it is, " if share > 0.1 else ""
    return f"{fewer_rows}lower group.threshold so that there are fewer classes, or use a machine with more memory"
