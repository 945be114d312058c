"""Frames that were classified before, as files of predictions keep them: to be classified again by another model."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import StoreError

FRAMES_AT_ONCE = 4096

_ERRORS = (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError)


@dataclass(frozen=True, eq=False)
class StoredFrames:
    """Some frames of a file of predictions: patterns (n, points) and what each was found to be first.

    ``class_ids`` and ``formulae`` are "" and ``probabilities`` NaN where a frame had no candidate.
    """

    names: tuple[str, ...]
    patterns: NDArray[np.float32]
    class_ids: tuple[str, ...]
    formulae: tuple[str, ...]
    probabilities: NDArray[np.float64]


def stored_grid(path: Path) -> NDArray[np.float64]:
    """The grid of the patterns in a file of predictions.

    Raises
    ------
    StoreError
        If the file is missing, damaged, or no file of predictions.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            grid: NDArray[np.float64] = file["entry/measured/r"][()]
    except _ERRORS as error:
        raise _unreadable(path, error) from error
    return grid


def stored_frames(path: Path) -> Iterator[StoredFrames]:
    """The frames of a file that ``write_predictions_nexus`` wrote, some thousand at a time.

    Raises
    ------
    StoreError
        If the file is missing, damaged, or no file of predictions.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            entry = file["entry"]
            patterns, names = entry["measured/values"], entry["frames/name"]
            ranked = entry["candidates/probability"].shape[1] > 0
            for start in range(0, len(patterns), FRAMES_AT_ONCE):
                own = slice(start, start + FRAMES_AT_ONCE)
                count = len(names[own])
                yield StoredFrames(
                    names=tuple(names.asstr()[own]),
                    patterns=patterns[own],
                    class_ids=_first(entry, "class_id", own) if ranked else ("",) * count,
                    formulae=_first(entry, "formula", own) if ranked else ("",) * count,
                    probabilities=entry["candidates/probability"][own, 0] if ranked else np.full(count, np.nan),
                )
    except _ERRORS as error:
        raise _unreadable(path, error) from error


def _first(entry: h5py.Group, name: str, rows: slice) -> tuple[str, ...]:
    return tuple(entry["candidate_names"][name].asstr()[rows, 0])


def _unreadable(path: Path, error: Exception) -> StoreError:
    return StoreError(
        f"{path} cannot be read as a file of predictions ({error}): name files that predict has written "
        "(predictions.nxs), or predict again"
    )
