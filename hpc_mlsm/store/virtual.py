"""One file that shows a whole store to a viewer. Never read by the program."""

import os
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.durable import write_durably
from hpc_mlsm.store.layout import (
    new_file,
    nx_group,
    set_signal,
    set_text,
    write_axis,
    write_bulk,
    write_text,
    write_texts,
)
from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.store.reading import ShardReader, rows_of, runs
from hpc_mlsm.store.schema import Axis


def write_view(store: PatternStore, path: Path) -> None:
    """Write an HDF5 file whose one dataset joins the live rows of all shards, for silx view or H5Web.

    It holds no patterns itself, only where they lie, relative to its own folder. **A virtual dataset silently shows
    fill values (NaN here) for shards that are missing**, and it does not follow later changes of the store: look at
    it, never compute from it.

    Raises
    ------
    StoreError
        If the store is empty or the file cannot be written.
    """
    axis, order = store.axis(), store.ids()
    layout = h5py.VirtualLayout((store.n_rows, len(axis.values)), dtype=np.float32)
    at, ids, counts, signal, unit = 0, [], [], "", ""
    for shard_path, live in store.live_shards(order):
        with ShardReader(shard_path, live, order) as shard:
            signal, unit, length = shard.signal()
        place = os.path.relpath(shard_path, path.parent)
        source = h5py.VirtualSource(place, f"entry/patterns/{signal}", shape=(length, len(axis.values)))
        rows = rows_of(live)
        for start, stop in runs(rows):
            layout[at + start : at + stop] = source[rows[start] : rows[stop - 1] + 1]
        at += len(rows)
        ids += [order[k] for k in live["structure"]]
        counts += live["n_rows"].tolist()
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    write_durably(path, _image(layout, axis, signal, unit, ids, offsets))


def _image(
    layout: h5py.VirtualLayout, axis: Axis, signal: str, unit: str, ids: list[str], offsets: NDArray[np.int64]
) -> bytes:
    image = BytesIO()
    with new_file(image) as file:
        set_text(file, creator="hpc_mlsm pattern view", default="entry")
        entry = nx_group(file, "entry", "NXentry")
        set_text(entry, default="patterns")
        write_text(entry, "title", f"view of {len(ids)} structures, for looking only")
        group = nx_group(entry, "patterns", "NXdata")
        set_signal(group, signal, axis.name)
        write_axis(group, axis)
        dataset = group.create_virtual_dataset(signal, layout, fillvalue=np.nan)
        set_text(dataset, units=unit, long_name=f"{signal} ({unit})")
        table = nx_group(entry, "structures", "NXcollection")
        write_texts(table, "id", ids)
        write_bulk(table, "offsets", offsets)
    return image.getvalue()
