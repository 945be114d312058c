"""How a shard lies in HDF5: a NeXus file that silx view and H5Web open as a plot. See docs/storage.md."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import StoreError
from hpc_mlsm.store.schema import SCHEMA_VERSION, Axis, ShardContent

H5_ERRORS = (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError)
"""What h5py raises on damaged files, depending on which byte is damaged."""

LIBVER = (h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
"""File format of HDF5 1.10: the oldest in which the metadata carry checksums."""

CHUNK_BYTES = 128 * 1024
_FORMAT = "hpc_mlsm pattern shard"


def compression() -> dict[str, Any]:
    """Filter of all bulk datasets, as keywords of ``create_dataset``; chosen by the figures in docs/storage.md."""
    blosc = hdf5plugin.Blosc2(cname="zstd", clevel=1, filters=hdf5plugin.Blosc2.SHUFFLE)
    return {**blosc, "fletcher32": True}


def new_file(image: BytesIO) -> h5py.File:
    """A new HDF5 file in memory, to be closed by the caller.

    Times of creation are not kept in it: HDF5 before 2.0 stores them by default, and equal contents would differ.
    """
    creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    creation.set_obj_track_times(False)
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, image)
    access.set_libver_bounds(*LIBVER)
    return h5py.File(h5py.h5f.create(b"image", h5py.h5f.ACC_TRUNC, fcpl=creation, fapl=access))


def to_image(content: ShardContent) -> bytes:
    """The bytes of the HDF5 file that holds a shard.

    The file is built in memory: what reaches the disk is then one plain write, whose failure is an ordinary
    ``OSError``, and the checksum is of the bytes meant, not of those a faulty disk gave back. Equal contents give
    equal bytes.
    """
    structures = content.structures()
    image = BytesIO()
    # Not the image that HDF5 gives of an open file: up to HDF5 1.14 the checksum of the superblock is wrong in it.
    with new_file(image) as file:
        file.attrs["schema_version"] = SCHEMA_VERSION
        set_text(file, creator=_FORMAT, content_digest=content.digest(structures), default="entry")
        entry = nx_group(file, "entry", "NXentry")
        set_text(entry, default="patterns")
        write_text(entry, "title", f"{content.kind} patterns of {len(content.structure_ids)} structures")
        _write_signal(entry, "patterns", content.patterns, content)
        _write_signal(entry, "base", content.base, content)
        rows = nx_group(entry, "parameters", "NXcollection")
        write_bulk(rows, "variant", content.variants)
        for name, (unit, values) in content.parameters.items():
            set_text(write_bulk(rows, name, values), units=unit)
        table = nx_group(entry, "structures", "NXcollection")
        write_texts(table, "id", content.structure_ids)
        write_texts(table, "content_hash", content.content_hashes)
        write_texts(table, "digest", [row.digest for row in structures])
        write_bulk(table, "offsets", content.offsets)
        _write_provenance(entry, content)
    return image.getvalue()


def open_image(image: bytes) -> h5py.File:
    """An HDF5 file from its bytes, for reading."""
    return h5py.File(BytesIO(image), "r")


def read_content(file: h5py.File, path: object) -> ShardContent:
    """All that a shard holds, compared with the digest that was stored with it.

    Raises
    ------
    StoreError
        If the file is no shard, is of another version, or does not hold what was written.
    """
    check_format(file, path)
    entry = file["entry"]
    table, parameters, process = entry["structures"], entry["parameters"], entry["process"]
    signal = get_text(entry["patterns"], "signal")
    content = ShardContent(
        kind=_text(process["kind"]),  # type: ignore[arg-type]
        axis=read_axis(file),
        signal=signal,
        signal_unit=get_text(entry["patterns"][signal], "units"),
        structure_ids=tuple(table["id"].asstr()[:]),
        content_hashes=tuple(table["content_hash"].asstr()[:]),
        base=entry["base"][signal][:],
        offsets=table["offsets"][:],
        patterns=entry["patterns"][signal][:],
        parameters={
            name: (get_text(dataset, "units"), dataset[:]) for name, dataset in parameters.items() if name != "variant"
        },
        variants=parameters["variant"][:],
        config_hash=_text(process["config_hash"]),
        engine=_text(process["engine"]),
        code_version=_text(process["version"]),
    )
    try:
        content.check()
    except StoreError as error:
        raise StoreError(f"{path} is damaged: {error}") from error
    if content.digest(content.structures()) != get_text(file, "content_digest"):
        raise StoreError(f"{path} is damaged: the content does not match the digest stored with it")
    return content


def check_format(file: h5py.File, path: object) -> None:
    """Refuse a file that is not a shard of this schema version."""
    if "creator" not in file.attrs or get_text(file, "creator") != _FORMAT:
        raise StoreError(f"{path} is an HDF5 file, but not a pattern shard of hpc_mlsm")
    version = file.attrs.get("schema_version")
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"{path} has schema version {version}, but this program reads version {SCHEMA_VERSION}: "
            "use the program version that wrote it, or simulate into a new run directory"
        )


def read_axis(file: h5py.File) -> Axis:
    """The grid of a shard."""
    group = file["entry/patterns"]
    name = bytes(group.attrs["axes"][1]).decode()
    return Axis(name, get_text(group[name], "units"), group[name][:])


def chunk_rows(n_points: int, itemsize: int = 4) -> int:
    """Whole rows that fit in one chunk, at least one."""
    return max(1, CHUNK_BYTES // (n_points * itemsize))


def nx_group(parent: h5py.Group, name: str, nx_class: str) -> h5py.Group:
    """A new group of a NeXus class."""
    creation = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    creation.set_obj_track_times(False)
    group = h5py.Group(h5py.h5g.create(parent.id, name.encode(), gcpl=creation))
    set_text(group, NX_class=nx_class)
    return group


def write_bulk(group: h5py.Group, name: str, values: NDArray[Any]) -> h5py.Dataset:
    """A new dataset in chunks of whole rows, compressed and with checksums."""
    if not values.size:
        return group.create_dataset(name, data=values)
    per_row = values[0].size
    chunks = (min(len(values), chunk_rows(per_row, values.itemsize)), *values.shape[1:])
    return group.create_dataset(name, data=values, chunks=chunks, **compression())


# All text is of fixed length. Text of variable length lies in HDF5's global heap, which no checksum covers: one
# flipped bit there makes the library read without end.


def write_texts(group: h5py.Group, name: str, texts: Sequence[str]) -> None:
    """A new dataset of texts."""
    encoded = [text.encode() for text in texts]
    dtype = h5py.string_dtype("utf-8", max(map(len, encoded)))
    group.create_dataset(name, data=np.array(encoded, dtype=dtype), chunks=(len(encoded),), **compression())


def write_text(group: h5py.Group, name: str, text: str) -> None:
    """A new dataset of one text."""
    group.create_dataset(name, data=np.array(text.encode(), dtype=_dtype_of(text)))


def write_axis(group: h5py.Group, axis: Axis) -> None:
    """A new dataset with the grid."""
    grid = group.create_dataset(axis.name, data=axis.values, chunks=axis.values.shape, fletcher32=True)
    set_text(grid, units=axis.unit, long_name=f"{axis.name} ({axis.unit})", target=grid.name)


def set_signal(group: h5py.Group, signal: str, axis_name: str) -> None:
    """Say which dataset of an NXdata group is plotted, against what."""
    set_text(group, signal=signal)
    group.attrs["axes"] = np.array([b".", axis_name.encode()])
    group.attrs[f"{axis_name}_indices"] = 1


def set_text(owner: h5py.Group | h5py.Dataset, /, **attributes: str) -> None:
    """Set attributes that are texts."""
    for name, text in attributes.items():
        owner.attrs.create(name, text.encode(), dtype=_dtype_of(text))


def get_text(owner: h5py.Group | h5py.Dataset, name: str) -> str:
    """An attribute that is a text."""
    value = owner.attrs[name]
    return value.decode() if isinstance(value, bytes) else str(value)


def _write_signal(entry: h5py.Group, name: str, values: NDArray[np.float32], content: ShardContent) -> None:
    group, axis = nx_group(entry, name, "NXdata"), content.axis
    set_signal(group, content.signal, axis.name)
    label = f"{content.signal} ({content.signal_unit})"
    set_text(write_bulk(group, content.signal, values), units=content.signal_unit, long_name=label)
    if name == "patterns":
        write_axis(group, axis)
    else:
        group[axis.name] = entry["patterns"][axis.name]  # a hard link; @target tells NeXus so


def _write_provenance(entry: h5py.Group, content: ShardContent) -> None:
    process = nx_group(entry, "process", "NXprocess")
    write_text(process, "program", "hpc_mlsm")
    write_text(process, "version", content.code_version)
    write_text(process, "kind", content.kind)
    write_text(process, "engine", content.engine)
    write_text(process, "config_hash", content.config_hash)


def _dtype_of(text: str) -> np.dtype[Any]:
    return h5py.string_dtype("utf-8", max(1, len(text.encode())))


def _text(dataset: h5py.Dataset) -> str:
    return str(dataset.asstr()[()])
