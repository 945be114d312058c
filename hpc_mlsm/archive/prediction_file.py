"""Predictions as a NeXus file, which silx view and H5Web open as plots.

``/entry/measured`` holds the patterns on the model's grid (frames × r), ``/entry/candidates`` their probabilities
(frames × ranks) with correlations and space groups, ``/entry/candidate_names`` the text that belongs to these,
``/entry/frames`` what each frame is, ``/entry/process`` what made the file. Places without a candidate hold NaN, 0
and "".
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

import hpc_mlsm
from hpc_mlsm.archive.candidates import Candidate, Ranking
from hpc_mlsm.durable import write_durably
from hpc_mlsm.errors import StoreError

_TEXTS = ("class_id", "formula", "space_group_symbol", "name")
_LISTS = ("cod_ids", "structure_ids", "others")


def write_predictions_nexus(
    path: Path,
    rankings: Sequence[Ranking],
    grid: NDArray[np.float64],
    measured: NDArray[np.floating],
    provenance: Mapping[str, str] | None = None,
) -> None:
    """Write rankings and the patterns that they are of.

    Parameters
    ----------
    path : Path
        File to write; it appears only when it is whole.
    rankings : sequence of Ranking (n,)
        One for each frame.
    grid : float64 (m,)
        The model's grid, r in Å.
    measured : floating (n, m)
        The patterns on that grid, in the order of ``rankings``; stored as float32.
    provenance : mapping of str, optional
        Model name and hash, catalogue revision, versions; kept as text fields of the process.

    Raises
    ------
    StoreError
        If the shapes do not match, or the file cannot be written.
    """
    if measured.shape != (len(rankings), len(grid)):
        raise StoreError(
            f"{path}: patterns of shape {measured.shape} do not fit {len(rankings)} rankings on a grid of "
            f"{len(grid)} points; one row a ranking is needed"
        )
    write_durably(path, _image(rankings, grid, measured, provenance or {}))


def _image(
    rankings: Sequence[Ranking],
    grid: NDArray[np.float64],
    measured: NDArray[np.floating],
    provenance: Mapping[str, str],
) -> bytes:
    """The bytes of the HDF5 file; built in memory, so that a full disk is met by one plain write."""
    with h5py.File("predictions", "w", driver="core", backing_store=False) as file:
        file.attrs["creator"] = "hpc_mlsm"
        file.attrs["default"] = "entry"
        entry = nx_group(file, "entry", "NXentry")
        entry.attrs["default"] = "measured"
        entry["title"] = f"Candidates of {len(rankings)} measured patterns"
        frames = np.arange(len(rankings))
        data = nx_data(entry, "measured", "values", {"frame": frames, "r": grid})
        data["r"].attrs["units"] = "angstrom"
        write_numbers(data, "values", measured.astype(np.float32))
        data["values"].attrs.update({"units": "1/angstrom^2", "long_name": "G(r)", "interpretation": "spectrum"})
        _write_candidates(entry, rankings, frames)
        about = nx_group(entry, "frames", "NXcollection")
        write_texts(about, "name", [ranking.pattern for ranking in rankings])
        write_numbers(about, "removed_probability", np.array([r.removed_probability for r in rankings], dtype=float))
        write_process(entry, provenance)
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


def _write_candidates(entry: h5py.Group, rankings: Sequence[Ranking], frames: NDArray[np.int64]) -> None:
    width = max((len(ranking.candidates) for ranking in rankings), default=0)
    shape = (len(rankings), width)
    probability, correlation = np.full(shape, np.nan), np.full(shape, np.nan)
    space_group = np.zeros(shape, dtype=np.int16)
    texts = {name: np.full(shape, "", dtype=object) for name in (*_TEXTS, *_LISTS)}
    for row, ranking in enumerate(rankings):
        for column, candidate in enumerate(ranking.candidates):
            place = row, column
            probability[place], correlation[place] = candidate.probability, candidate.correlation
            space_group[place] = candidate.space_group
            for name, values in texts.items():
                values[place] = _text_of(candidate, name)
    data = nx_data(entry, "candidates", "probability", {"frame": frames, "rank": np.arange(1, width + 1)})
    write_numbers(data, "probability", probability)
    write_numbers(data, "correlation", correlation)
    write_numbers(data, "space_group", space_group)
    names = nx_group(entry, "candidate_names", "NXcollection")
    for name, values in texts.items():
        names.create_dataset(name, data=values, dtype=h5py.string_dtype())


def _text_of(candidate: Candidate, name: str) -> str:
    value = getattr(candidate, name)
    return "; ".join(map(str, value)) if name in _LISTS else value


def nx_group(parent: h5py.Group, name: str, nx_class: str) -> h5py.Group:
    """A new group of a NeXus class."""
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    return group


def nx_data(parent: h5py.Group, name: str, signal: str, axes: Mapping[str, NDArray[np.generic]]) -> h5py.Group:
    """A new NXdata with its axes; the signal is for the caller to write."""
    group = nx_group(parent, name, "NXdata")
    group.attrs["signal"] = signal
    group.attrs["axes"] = list(axes)
    for position, (axis, values) in enumerate(axes.items()):
        group[axis] = values
        group.attrs[f"{axis}_indices"] = position
    return group


def write_numbers(parent: h5py.Group, name: str, values: NDArray[np.generic]) -> None:
    """Compressed by a filter that every HDF5 library has: result files travel to where plugins are missing."""
    packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if values.size else {}
    parent.create_dataset(name, data=values, **packed)


def write_process(entry: h5py.Group, provenance: Mapping[str, str]) -> None:
    """What made the file, and from what."""
    process = nx_group(entry, "process", "NXprocess")
    process["program"] = "hpc_mlsm"
    process["version"] = hpc_mlsm.__version__
    notes = nx_group(process, "provenance", "NXcollection")
    for key, value in provenance.items():
        notes[key] = value


def write_texts(parent: h5py.Group, name: str, values: Sequence[str]) -> None:
    """Strings, UTF-8."""
    parent.create_dataset(name, data=np.array(values, dtype=object), dtype=h5py.string_dtype())
