"""Frames of an archive on the grid of a model, kept as shards so that later steps need not read the archive again."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.classifier import Classifier
from hpc_mlsm.archive.frames import ArchiveIndex, FrameReject
from hpc_mlsm.archive.opening import read_frames
from hpc_mlsm.durable import write_durably
from hpc_mlsm.errors import StoreError
from hpc_mlsm.store.layout import H5_ERRORS, get_text, new_file, nx_group, set_text, write_bulk, write_texts

FRAMES_PER_SHARD = 2048
VALUES_PER_SHARD = 2_000_000
"""At most, 16 MB as float64; frames of 4501 points come 444 at a time."""

SCHEMA_VERSION = 1
_FORMAT = "hpc_mlsm frames"


@dataclass(frozen=True, eq=False)
class PreparedFrames:
    """Frames on a grid: their numbers in the archive (n,), float32 values (n, points), and those set aside."""

    frames: NDArray[np.int64]
    values: NDArray[np.float32]
    rejects: tuple[FrameReject, ...] = ()


def prepare_frames(
    index: ArchiveIndex, start: int, stop: int, classifier: Classifier, skipped: Sequence[FrameReject] = ()
) -> PreparedFrames:
    """Frames ``start`` to ``stop`` (not included) as the model takes them; what it cannot is among the rejects.

    Those that are skipped are not read at all.
    """
    edges = [start, *(edge for one in skipped for edge in (one.frame, one.frame + 1)), stop]
    spans = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b > a]
    blocks = [read_frames(index, a, b) for a, b in spans]
    prepared = [classifier.prepare(curves, index.name) for block in blocks for curves in block.curves]
    rejects = [*skipped, *(reject for block in blocks for reject in block.rejects)]
    rejects += [reject for one in prepared for reject in one.rejects]
    frames = np.concatenate([np.empty(0, dtype=np.int64), *(one.frames for one in prepared)])
    values = np.concatenate([np.empty((0, len(classifier.grid))), *(one.values for one in prepared)])
    order = np.argsort(frames, kind="stable")
    rejects.sort(key=lambda one: one.frame)
    return PreparedFrames(frames[order], values[order].astype(np.float32), tuple(rejects))


def shard_path(folder: Path, start: int, stop: int, content_hash: str, preparation: bytes) -> Path:
    """Where frames ``start`` to ``stop`` of that content belong; another name where they are prepared otherwise."""
    digest = hashlib.blake2b(f"{SCHEMA_VERSION} {content_hash}".encode(), digest_size=8)
    digest.update(preparation)
    return folder / f"frames-{start:09d}-{stop:09d}-{digest.hexdigest()}.h5"


def frames_per_shard(points: int) -> int:
    """Frames on a grid of so many points that are one shard."""
    return max(1, min(FRAMES_PER_SHARD, VALUES_PER_SHARD // points))


def write_frame_shard(path: Path, prepared: PreparedFrames) -> None:
    """Write prepared frames; the file appears only when it is whole.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    image = BytesIO()
    with new_file(image) as file:
        file.attrs["schema_version"] = SCHEMA_VERSION
        set_text(file, creator=_FORMAT, content_digest=_digest(prepared))
        write_bulk(file, "frames", prepared.frames)
        write_bulk(file, "values", prepared.values)
        if prepared.rejects:
            rejects = nx_group(file, "rejects", "NXcollection")
            write_bulk(rejects, "frame", np.array([one.frame for one in prepared.rejects], dtype=np.int64))
            write_texts(rejects, "reason", [one.reason for one in prepared.rejects])
            write_texts(rejects, "detail", [one.detail for one in prepared.rejects])
    write_durably(path, image.getvalue())


def read_frame_shard(path: Path) -> PreparedFrames:
    """Prepared frames, checked to be what was written.

    Raises
    ------
    StoreError
        If the file is missing, cut short, altered, or something else.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            if file.attrs.get("schema_version") != SCHEMA_VERSION:
                raise StoreError(f"{path} holds no frames of this version; decompose again, it is made anew")
            rejects: tuple[FrameReject, ...] = ()
            if "rejects" in file:
                group = file["rejects"]
                columns = group["frame"][()].tolist(), group["reason"].asstr()[:], group["detail"].asstr()[:]
                rejects = tuple(FrameReject(*row) for row in zip(*columns, strict=True))
            prepared = PreparedFrames(file["frames"][()], file["values"][()], rejects)
            digest = get_text(file, "content_digest")
    except H5_ERRORS as error:
        raise StoreError(f"{path} cannot be read ({error}); decompose again, it is made anew") from error
    if digest != _digest(prepared):
        raise StoreError(f"{path} was altered (its digest differs); decompose again, it is made anew")
    return prepared


def _digest(prepared: PreparedFrames) -> str:
    whole = hashlib.blake2b(digest_size=16)
    for array in (prepared.frames, prepared.values):
        whole.update(np.ascontiguousarray(array).tobytes())
    whole.update(repr([(one.frame, one.reason, one.detail) for one in prepared.rejects]).encode())
    return whole.hexdigest()


class FrameSeries:
    """The usable frames of an archive as one series, read from its shards by slices."""

    def __init__(self, shards: Sequence[Path]) -> None:
        self.shards = tuple(shards)
        parts = [read_frame_shard(path) for path in self.shards]
        self.frames = np.concatenate([np.empty(0, dtype=np.int64), *(one.frames for one in parts)])
        self.rejects = tuple(reject for one in parts for reject in one.rejects)
        self._bounds = np.concatenate([[0], np.cumsum([len(one.frames) for one in parts])]).astype(int)

    def __len__(self) -> int:
        return len(self.frames)

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:
        """Values of usable frames ``start`` to ``stop``, counted among the usable ones."""
        first = int(np.searchsorted(self._bounds, start, side="right")) - 1
        last = int(np.searchsorted(self._bounds, stop, side="left"))
        parts = [
            _values(self.shards[k])[max(0, start - self._bounds[k]) : stop - self._bounds[k]]
            for k in range(first, last)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


@lru_cache(maxsize=3)
def _values(path: Path) -> NDArray[np.float32]:
    return read_frame_shard(path).values
