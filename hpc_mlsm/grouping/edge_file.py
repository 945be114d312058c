"""Edges on disk as HDF5 files, never seen half written: those of a run, and those of each task on the way there."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from hpc_mlsm.durable import write_durably
from hpc_mlsm.errors import StoreError
from hpc_mlsm.grouping.edges import Edges

_COLUMNS = {"i": np.int32, "j": np.int32, "correlation": np.float32}
_CHUNK = 2**16
_ERRORS = (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError)


def write_edges(folder: Path, edges: Edges, digests: Sequence[str] = ()) -> tuple[str, str]:
    """Write edges into a folder; returns the name of the file, which contains its checksum, and the checksum.

    Because the name follows from the content, a file that something else still points to is never overwritten by
    other edges. ``digests`` are of the patterns that were compared, by row.

    Raises
    ------
    StoreError
        If the file cannot be written, because the disk is full for example.
    """
    image = _image(edges, digests, {})
    checksum = hashlib.sha256(image.getbuffer()).hexdigest()
    name = f"edges-{checksum[:16]}.h5"
    write_durably(folder / name, image.getbuffer())
    return name, checksum


def read_edges(path: Path, checksum: str) -> tuple[Edges, tuple[str, ...]]:
    """Read the edges that `write_edges` wrote, and the digests.

    Raises
    ------
    StoreError
        If the file is missing, unreadable, or not the one with this checksum.
    """
    remedy = "run the group stage again"
    try:
        if _sha256_of(path) != checksum:
            raise StoreError(
                f"{path} has been altered or cut short: its checksum is not the one in groups.json; {remedy}"
            )
        with h5py.File(path, "r", locking=False) as file:
            digests = tuple(text.decode() for text in file["digest"][()].tolist())
            return Edges(*(file[name][()] for name in _COLUMNS)), digests
    except (OSError, KeyError) as error:
        raise StoreError(f"{path} cannot be read: {error}; {remedy}") from error


def write_part(path: Path, edges: Edges, counts: Mapping[str, int]) -> None:
    """Write the edges of one task, with some numbers.

    Raises
    ------
    StoreError
        If the file cannot be written.
    """
    write_durably(path, _image(edges, (), counts).getbuffer())


def read_part(path: Path) -> tuple[Edges, dict[str, int]]:
    """Read what `write_part` wrote; checksums in it tell whether it is that.

    Raises
    ------
    StoreError
        If the file is missing or damaged.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            counts = {name: int(value) for name, value in file.attrs.items()}
            return Edges(*(file[name][()] for name in _COLUMNS)), counts
    except _ERRORS as error:
        raise StoreError(f"{path} cannot be read: {error}; run the group stage again") from error


def _image(edges: Edges, digests: Sequence[str], counts: Mapping[str, int]) -> io.BytesIO:
    # HDF5 ends the process with a segmentation fault when a disk fills up under it, so it writes into memory here:
    # at most 12 bytes an edge, which the edges' share of the memory has room for.
    image = io.BytesIO()
    with h5py.File(image, "w", libver=("v110", "v110")) as file:
        file.attrs.update(counts)
        columns = {name: np.asarray(getattr(edges, name), dtype) for name, dtype in _COLUMNS.items()}
        columns["digest"] = np.array([digest.encode() for digest in digests], "S32")
        for name, values in columns.items():
            file.create_dataset(
                name,
                data=values,
                chunks=(_CHUNK,),
                maxshape=(None,),
                compression="gzip",
                compression_opts=1,
                shuffle=True,
                fletcher32=True,
            )
    return image


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
