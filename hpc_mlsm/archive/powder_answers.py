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
        block = patterns[start : start + AT_ONCE]
        prepared = prepare_patterns(models, block, settings)
        rejects += [PatternReject.from_error(block[row].name, block[row].source, one) for row, one in prepared.refused]
        if not prepared.rows:
            continue
        with_background = np.array([one.values for one in prepared.kept])
        without = np.array([one.values for one in prepared.stripped])
        found = np.stack(
            [model.probabilities(with_background if model.knows_background else without) for model in models], axis=1
        )
        answers += [
            PowderAnswer(block[row].name, block[row].source, one, rows)
            for row, one, rows in zip(prepared.rows, prepared.stripped, found, strict=True)
        ]
    return answers, rejects


@dataclass(frozen=True, eq=False)
class PreparedPatterns:
    """Patterns as models take them.

    Attributes
    ----------
    rows
        Places of those that can be used among all.
    stripped, kept
        Each of these without its background, and with it where a model learnt patterns with theirs.
    refused
        Places of the others, and why.
    """

    rows: list[int]
    stripped: list[PreparedPowder]
    kept: list[PreparedPowder]
    refused: list[tuple[int, PatternError]]


def prepare_patterns(
    models: Sequence[PowderModel], patterns: Sequence[Pattern], settings: MeasuredPowderSettings
) -> PreparedPatterns:
    """Bring patterns to the wavelength, grid and scale of models that have these in common."""
    grid, wavelength = models[0].two_theta, models[0].wavelength
    raw = replace(settings, background="none") if any(model.knows_background for model in models) else None
    found = PreparedPatterns([], [], [], [])
    for row, pattern in enumerate(patterns):
        try:
            prepared = prepare_powder(pattern, grid, wavelength, settings)
            if prepared.peaks < settings.min_peaks:
                raise _too_few(pattern, prepared, settings)
            found.kept.append(prepare_powder(pattern, grid, wavelength, raw) if raw else prepared)
        except PatternError as error:
            found.refused.append((row, error))
            continue
        found.rows.append(row)
        found.stripped.append(prepared)
    return found


def _too_few(pattern: Pattern, prepared: PreparedPowder, settings: MeasuredPowderSettings) -> PatternError:
    low, high = prepared.covered
    return PatternError(
        "few_peaks",
        f"{pattern.source or pattern.name}: {prepared.peaks} peaks between {low:g} and {high:g}°, "
        f"{settings.min_peaks} are needed, so no answer is given; measure a wider range or longer, or lower "
        "min_peaks and take the answer for a guess",
    )
