"""The index of an archive as a file, so that tasks need only its path."""

import json
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np

from hpc_mlsm.archive.frames import ArchiveIndex, Variable
from hpc_mlsm.archive.stack import H5_ERRORS
from hpc_mlsm.durable import write_durably
from hpc_mlsm.errors import StoreError
from hpc_mlsm.store.layout import set_text, write_bulk

SCHEMA_VERSION = 2
_FORMAT = "hpc_mlsm archive index"
_TEXTS = ("source", "form", "kind", "axis", "unit", "dataset", "abscissa", "synthetic")


def save_index(index: ArchiveIndex, path: Path) -> None:
    """Write an index; the file appears only when it is whole.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    image = BytesIO()
    with h5py.File(image, "w") as file:
        file.attrs["schema_version"] = SCHEMA_VERSION
        set_text(file, creator=_FORMAT, **{name: getattr(index, name) or "" for name in _TEXTS})
        file.attrs.update(
            {"n_frames": index.n_frames, "unit_given": index.unit_given, "shape": np.array(index.shape, dtype=np.int64)}
        )
        file.create_dataset("notes", data=np.frombuffer(json.dumps(index.notes).encode(), dtype=np.uint8))
        members = np.frombuffer("\0".join(index.members).encode("utf-8", "surrogateescape"), dtype=np.uint8)
        write_bulk(file, "members", members)
        write_bulk(file, "places", index.places)
        variables = file.create_group("variables", track_order=True)
        for one in index.variables:
            set_text(write_bulk(variables, one.name, one.values), units=one.unit)
    write_durably(path, image.getvalue())


@lru_cache(maxsize=2)
def _loaded(path: Path, written: int) -> ArchiveIndex:
    try:
        with h5py.File(path, "r", locking=False) as file:
            if file.attrs.get("schema_version") != SCHEMA_VERSION or file.attrs.get("creator", b"") != _FORMAT.encode():
                raise StoreError(f"{path} is no archive index of this version; run predict again, it makes a new one")
            texts = {name: file.attrs[name].decode() for name in _TEXTS}
            members = file["members"][()].tobytes().decode("utf-8", "surrogateescape")
            variables = file["variables"]
            return ArchiveIndex(
                **{**texts, "axis": texts["axis"] or None, "unit": texts["unit"] or None},
                n_frames=int(file.attrs["n_frames"]),
                unit_given=bool(file.attrs["unit_given"]),
                members=tuple(members.split("\0")) if members else (),
                places=file["places"][()],
                shape=tuple(int(size) for size in file.attrs["shape"]),
                variables=tuple(
                    Variable(name, one.attrs["units"].decode(), one[()]) for name, one in variables.items()
                ),
                notes=tuple(json.loads(file["notes"][()].tobytes())),
            )
    except H5_ERRORS as error:
        raise StoreError(f"{path} cannot be read ({error}); run predict again, it makes a new one") from error


def load_index(path: Path) -> ArchiveIndex:
    """Read an index; the last ones stay in memory, so that a worker reads it once.

    Raises
    ------
    StoreError
        If it is missing, damaged, or of another version.
    """
    try:
        written = path.stat().st_mtime_ns
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}); run predict, it makes the index") from error
    return _loaded(path, written)
