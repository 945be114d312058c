"""Settings of the forests, as a dataclass that the configuration validates."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Interval

from hpc_mlsm.models.peak_features import FeatureSet


@dataclass(frozen=True)
class ForestSettings:
    """A forest on peak features; the defaults are the published ones.

    Attributes
    ----------
    kind
        ``random_forest`` or ``extra_trees``; each has its own features.
    trees, max_depth, criterion, min_samples_leaf, min_samples_split, max_features
        As in scikit-learn.
    class_weight
        ``balanced`` weighs rare classes up, ``none`` does not.
    trees_per_task
        How many trees a worker grows in one go; the forest does not depend on it.
    seed
        Tree k of a forest depends on the data, ``seed`` and k only.
    """

    kind: FeatureSet = "random_forest"
    trees: Annotated[int, Interval(ge=1, le=100_000)] = 250
    max_depth: Annotated[int, Ge(1)] = 30
    criterion: Literal["gini", "entropy"] = "gini"
    min_samples_leaf: Annotated[int, Ge(1)] = 1
    min_samples_split: Annotated[int, Ge(2)] = 2
    max_features: Literal["sqrt", "log2", "all"] = "sqrt"
    class_weight: Literal["none", "balanced"] = "none"
    trees_per_task: Annotated[int, Ge(1)] = 10
    seed: Annotated[int, Ge(0)] = 0


@dataclass(frozen=True)
class ExtraTreesSettings(ForestSettings):
    """Extremely randomised trees; otherwise as ``ForestSettings``."""

    kind: FeatureSet = "extra_trees"
