"""What models of powder patterns are taught, which models, and on what."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import MinLen

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.evaluation.folds import FoldSettings
from hpc_mlsm.models.peak_features import NOISY, PeakSettings

DataSet = Literal["full", "organic", "inorganic"]
ModelName = Literal["forest", "extra_trees", "cnn", "cnn-paper"]
SymmetrySource = Literal["stated", "found"]
FORESTS: tuple[ModelName, ...] = ("forest", "extra_trees")


@dataclass(frozen=True)
class ClassifySettings:
    """The classifiers of a run of powder patterns.

    Attributes
    ----------
    label
        What they tell apart: the crystal systems.
    symmetry
        ``found`` teaches structures stated as P1 with the symmetry that spglib finds within 0.01 Å, all others with
        what is stated; ``stated`` takes the source at its word.
    data_sets
        Structures they learn from: ``full``, ``organic`` (metal–organic ones too) or ``inorganic``; each model is
        trained on each.
    models
        ``forest`` (random forest), ``extra_trees`` (extremely randomised trees), ``cnn`` (residual network) and
        ``cnn-paper`` (the published network). None takes the network that ``train.cnn`` describes, where it does, and
        else both forests.
    cross_validate
        Whether the evaluate stage trains each model anew without each fold, which costs as many trainings as there
        are folds.
    folds
        Of the cross-validation.
    peaks
        What counts as a peak for forests, in training as in prediction.
    """

    label: Literal["crystal_system"] = "crystal_system"
    symmetry: SymmetrySource = "found"
    data_sets: Annotated[tuple[DataSet, ...], MinLen(1)] = ("full",)
    models: Annotated[tuple[ModelName, ...], MinLen(1)] | None = None
    cross_validate: bool = True
    folds: FoldSettings = field(default_factory=FoldSettings)
    peaks: PeakSettings = NOISY

    def __post_init__(self) -> None:
        for key in ("data_sets", "models"):
            given = getattr(self, key) or ()
            twice = sorted({name for name in given if given.count(name) > 1})
            if twice:
                raise ConfigError(f"{key}: {', '.join(twice)} is named twice")


def model_folder(model: str, data_set: str) -> str:
    """Name of a model's bundle: that of the model, and of the data set where it is not the full one."""
    return model if data_set == "full" else f"{model}-{data_set}"
