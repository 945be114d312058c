"""What models say of measured powder patterns, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.pattern import Pattern, PatternReject
from hpc_mlsm.archive.powder_prepare import PreparedPowder, prepare_powder
from hpc_mlsm.archive.powder_settings import MeasuredPowderSettings
from hpc_mlsm.errors import PatternError
from hpc_mlsm.models.powder_models import PowderModel

AT_ONCE = 512
"""Patterns prepared and classified together: 512 of 4501 points in double precision are 18 MB."""


@dataclass(frozen=True, eq=False)
class PowderAnswer:
    """One measured pattern and what each model says of it.

    Attributes
    ----------
    name, source : str
        Of the pattern.
    prepared : PreparedPowder
        The pattern as the models saw it, without its background.
    probabilities : float64 (models, classes)
        In the order of the models and their classes.
    """

    name: str
    source: str
    prepared: PreparedPowder
    probabilities: NDArray[np.float64]

    @property
    def labels(self) -> NDArray[np.intp]:
        """Most probable class of each model, (models,)."""
        return self.probabilities.argmax(axis=1)

    @property
    def agreed(self) -> bool:
        """Whether all models name the same class."""
        return len(set(self.labels.tolist())) == 1


def answer_patterns(
    models: Sequence[PowderModel], patterns: Sequence[Pattern], settings: MeasuredPowderSettings
) -> tuple[list[PowderAnswer], list[PatternReject]]:
    """Prepare patterns and ask every model; what cannot be used comes back with its reason, and stops no other.

    A pattern with fewer than ``settings.min_peaks`` peaks in the models' range is not answered.

    Parameters
    ----------
    models : sequence of PowderModel
        Of one grid, wavelength and list of classes.
    """
    answers: list[PowderAnswer] = []
    rejects: list[PatternReject] = []
    for start in range(0, len(patterns), AT_ONCE):
        usable, stripped, kept = _prepared(models, patterns[start : start + AT_ONCE], settings, rejects)
        if not usable:
            continue
        with_background = np.array([one.values for one in kept])
        without = np.array([one.values for one in stripped])
        found = np.stack(
            [model.probabilities(with_background if model.knows_background else without) for model in models], axis=1
        )
        answers += [
            PowderAnswer(pattern.name, pattern.source, prepared, rows)
            for pattern, prepared, rows in zip(usable, stripped, found, strict=True)
        ]
    return answers, rejects


def _prepared(
    models: Sequence[PowderModel],
    patterns: Sequence[Pattern],
    settings: MeasuredPowderSettings,
    rejects: list[PatternReject],
) -> tuple[list[Pattern], list[PreparedPowder], list[PreparedPowder]]:
    """Usable patterns, each without its background and, where a model wants it, with it."""
    grid, wavelength = models[0].two_theta, models[0].wavelength
    raw = replace(settings, background="none") if any(model.knows_background for model in models) else None
    usable, stripped, kept = [], [], []
    for pattern in patterns:
        try:
            prepared = prepare_powder(pattern, grid, wavelength, settings)
            if prepared.peaks < settings.min_peaks:
                raise _too_few(pattern, prepared, settings)
            kept.append(prepare_powder(pattern, grid, wavelength, raw) if raw else prepared)
        except PatternError as error:
            rejects.append(PatternReject.from_error(pattern.name, pattern.source, error))
            continue
        usable.append(pattern)
        stripped.append(prepared)
    return usable, stripped, kept


def _too_few(pattern: Pattern, prepared: PreparedPowder, settings: MeasuredPowderSettings) -> PatternError:
    low, high = prepared.covered
    return PatternError(
        "few_peaks",
        f"{pattern.source or pattern.name}: {prepared.peaks} peaks between {low:g} and {high:g}°, "
        f"{settings.min_peaks} are needed, so no answer is given; measure a wider range or longer, or lower "
        "min_peaks and take the answer for a guess",
    )
