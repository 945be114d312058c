"""What forests on peaks need: time to find the peaks and to grow the trees, memory, bytes on disk."""

from collections.abc import Sequence
from dataclasses import dataclass

from hpc_mlsm.models.forest import seconds_per_tree
from hpc_mlsm.models.forest_settings import ForestSettings
from hpc_mlsm.models.peak_features import FEATURE_NAMES

SECONDS_PER_PATTERN = 1.0e-3
"""Of finding the peaks of a pattern of 4501 points; with a background to subtract first, four times as many."""

NODE_BYTES = 120.0
"""Of a tree in memory, for each training row: about a node a row, with seven class weights and its thresholds."""


@dataclass(frozen=True)
class ForestNeed:
    """Seconds of one core for peaks, for all forests, and for all folds of all of them; the longest task; bytes."""

    peaks_s: float
    training_s: float
    folds_s: float
    task_s: float
    memory: float
    disk: float

    def training_wall(self, workers: int) -> float:
        """Seconds for peaks and all forests on so many workers."""
        return (self.peaks_s + self.training_s) / workers


def forest_need(
    patterns: int, points: int, forests: Sequence[ForestSettings], folds: int, *, background: bool
) -> ForestNeed:
    """Project forests.

    Parameters
    ----------
    patterns, points
        Training patterns, and points of each.
    forests
        Each that is trained, once for each data set.
    folds
        Of the cross-validation.
    background
        Whether one is subtracted before peaks are looked for.
    """
    each = [(settings, seconds_per_tree(settings, patterns, len(FEATURE_NAMES[settings.kind]))) for settings in forests]
    training = sum(settings.trees * seconds for settings, seconds in each)
    return ForestNeed(
        peaks_s=patterns * SECONDS_PER_PATTERN * points / 4501 * (4.0 if background else 1.0),
        training_s=training,
        folds_s=training * (folds - 1),
        task_s=max((settings.trees_per_task * seconds for settings, seconds in each), default=0.0),
        memory=200.0 * patterns + max((s.trees_per_task for s in forests), default=0) * NODE_BYTES * patterns,
        disk=sum(settings.trees for settings in forests) * NODE_BYTES * patterns / 3 + 60.0 * patterns,
    )
