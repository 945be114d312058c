"""What training costs in memory, before it starts."""

from dataclasses import dataclass

from hpc_mlsm.models.settings import BoostedSettings

MB = 1e6


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes that gradient boosting needs at once, by purpose."""

    gradients: float
    margins: float
    binned: float
    histograms: float

    @property
    def total(self) -> float:
        """Sum of the parts."""
        return self.gradients + self.margins + self.binned + self.histograms


def boosted_memory(
    train_rows: int, valid_rows: int, n_points: int, n_classes: int, settings: BoostedSettings
) -> TrainingMemory:
    """Memory of training gradient-boosted trees.

    Gradients take a float pair (8 bytes) per training row and class, margins a float per row and class, binned data a
    byte (two above 256 bins) per row and point, histograms a double pair per bin, point and open node (for vector
    leaves, and class).
    """
    rows = train_rows + valid_rows
    width = n_classes if settings.trees == "vector" else 1
    open_nodes = 2 ** (settings.max_depth - 1)
    return TrainingMemory(
        gradients=8.0 * train_rows * n_classes,
        margins=4.0 * rows * n_classes,
        binned=(1.0 if settings.max_bin <= 256 else 2.0) * rows * n_points,
        histograms=16.0 * settings.max_bin * n_points * open_nodes * width,
    )


def remedy(memory: TrainingMemory, available: float) -> str:
    """What to change so that training fits."""
    if memory.histograms > 0.5 * memory.total:
        return "lower train.boosted.max_bin or max_depth, or set train.boosted.trees to per_class"
    share = available / memory.total
    return (
        f"lower simulate.variants to about {share:.0%} of what it is, raise group.threshold so that there are fewer "
        "classes, or use a machine with more memory"
    )
