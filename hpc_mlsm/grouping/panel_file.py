"""One panel on disk: some thousand base patterns, ready to be correlated by a task that reads them itself."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.durable import write_durably
from hpc_mlsm.errors import StoreError
from hpc_mlsm.grouping.correlate import CHUNK_ELEMENTS, Panel, panel_of
from hpc_mlsm.grouping.leading import bounding_vectors

CHUNK_BYTES = 2**17
LIBVER = ("v110", "v110")
"""As of the shards: the oldest file format in which metadata carry checksums."""

H5_ERRORS = (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True)
class PanelRef:
    """Where a panel lies: its file, and the positions ``first`` to ``first + rows`` that its patterns have."""

    path: Path
    first: int
    rows: int

    @property
    def stop(self) -> int:
        """One past the last position."""
        return self.first + self.rows


def write_panel(folder: Path, ids: Sequence[str], digests: Sequence[str], patterns: NDArray[np.float32]) -> str:
    """Write a panel; returns its name, which follows from its content.

    Means and norms are computed here, once, and stored beside the patterns, which decide pairs near the threshold.

    Parameters
    ----------
    ids, digests : sequences of str
        Of the structures, and of their patterns, by which it is told whether these have changed.
    patterns : array (n, points)

    Raises
    ------
    PatternError
        If a pattern holds NaN or infinity.
    StoreError
        If the file cannot be written.
    """
    panel = panel_of(patterns)
    image = io.BytesIO()  # HDF5 ends the process with a segmentation fault when a disk fills up under it
    with h5py.File(image, "w", libver=LIBVER) as file:
        rows = max(1, min(len(patterns), CHUNK_BYTES // (4 * max(1, patterns.shape[1]))))
        file.create_dataset("pattern", data=patterns, chunks=(rows, patterns.shape[1]), fletcher32=True)
        for name, values in (("mean", panel.mean), ("scale", panel.scale)):
            file.create_dataset(name, data=values, chunks=values.shape, fletcher32=True)
        for name, texts in (("id", ids), ("digest", digests)):
            encoded = np.array([text.encode() for text in texts])
            file.create_dataset(name, data=encoded, chunks=encoded.shape, fletcher32=True)
    name = f"panel-{hashlib.sha256(image.getbuffer()).hexdigest()[:20]}.h5"
    write_durably(folder / name, image.getbuffer())
    return name


def read_names(path: Path) -> tuple[list[str], list[str]]:
    """Ids of the structures of a panel, and the digests of their patterns.

    Raises
    ------
    StoreError
        If the file is missing or damaged.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            ids, digests = file["id"][()].tolist(), file["digest"][()].tolist()
    except H5_ERRORS as error:
        raise _damaged(path, error) from error
    return [text.decode() for text in ids], [text.decode() for text in digests]


def read_patterns(path: Path, rows: slice) -> NDArray[np.float32]:
    """Some patterns of a panel.

    Raises
    ------
    StoreError
        If the file is missing or damaged.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            patterns: NDArray[np.float32] = file["pattern"][rows]
    except H5_ERRORS as error:
        raise _damaged(path, error) from error
    return patterns


def read_panel(path: Path, basis: NDArray[np.float64] | None) -> Panel:
    """A panel, with bounding vectors where there are directions for them.

    Raises
    ------
    StoreError
        If the file is missing or damaged.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            patterns, mean, scale = (file[name][()] for name in ("pattern", "mean", "scale"))
    except H5_ERRORS as error:
        raise _damaged(path, error) from error
    unit = np.empty(patterns.shape, np.float32)
    step = max(1, CHUNK_ELEMENTS // max(patterns.shape[1], 1))
    for start in range(0, len(patterns), step):
        own = slice(start, start + step)
        unit[own] = (patterns[own] - mean[own, None]) * scale[own, None]
    panel = Panel(patterns, unit, mean, scale)
    return panel if basis is None else Panel(patterns, unit, mean, scale, bounding_vectors(panel, basis))


def _damaged(path: Path, error: Exception) -> StoreError:
    return StoreError(
        f"{path} cannot be read ({error}); delete the folder {path.parent}, which is made anew from the patterns, and "
        "run the group stage again"
    )
