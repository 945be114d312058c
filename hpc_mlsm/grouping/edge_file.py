"""Edges on disk: one HDF5 file, named by its content, never seen half written."""

import hashlib
import io
from pathlib import Path

import h5py
import numpy as np

from hpc_mlsm.durable import write_durably
from hpc_mlsm.errors import StoreError
from hpc_mlsm.grouping.edges import Edges

_COLUMNS = {"i": np.int32, "j": np.int32, "correlation": np.float32}
_CHUNK = 2**16


def write_edges(folder: Path, edges: Edges) -> tuple[str, str]:
    """Write edges into a folder; returns the name of the file, which contains its checksum, and the checksum.

    Because the name follows from the content, a file that something else still points to is never overwritten by
    other edges.

    Raises
    ------
    StoreError
        If the file cannot be written, because the disk is full for example.
    """
    # HDF5 ends the process with a segmentation fault when a disk fills up under it, so it writes into memory here:
    # at most 12 bytes an edge, which the edges' share of the memory has room for.
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        for name, dtype in _COLUMNS.items():
            file.create_dataset(
                name,
                data=np.asarray(getattr(edges, name), dtype=dtype),
                chunks=(_CHUNK,),
                maxshape=(None,),
                compression="gzip",
                compression_opts=1,
                shuffle=True,
                fletcher32=True,
            )
    checksum = hashlib.sha256(image.getbuffer()).hexdigest()
    name = f"edges-{checksum[:16]}.h5"
    write_durably(folder / name, image.getbuffer())
    return name, checksum


def read_edges(path: Path, checksum: str) -> Edges:
    """Read the edges that `write_edges` wrote.

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
            return Edges(*(file[name][()] for name in _COLUMNS))
    except (OSError, KeyError) as error:
        raise StoreError(f"{path} cannot be read: {error}; {remedy}") from error


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
