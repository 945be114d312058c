"""Predictions of consecutive frames as one HDF5 file, written once and checked by a checksum."""

import hashlib
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np

import hpc_mlsm
from hpc_mlsm.archive.frames import FrameReject
from hpc_mlsm.archive.predictions import COLUMNS, Predictions
from hpc_mlsm.archive.stack import H5_ERRORS
from hpc_mlsm.durable import write_durably
from hpc_mlsm.errors import StoreError
from hpc_mlsm.store.layout import get_text, new_file, nx_group, set_text, write_bulk, write_texts
from hpc_mlsm.store.schema import ShardRecord, StructureRows, shard_name

SCHEMA_VERSION = 2
_FORMAT = "hpc_mlsm prediction shard"
_DIGEST_BYTES = 16


def write_prediction_shard(
    folder: Path, piece: str, content_hash: str, config_hash: str, predictions: Predictions
) -> ShardRecord:
    """Write a shard; it counts only once its record is in the store's index.

    Parameters
    ----------
    folder
        Of the store; must exist.
    piece
        Which frames these are, such as ``frames-0-4096``.
    content_hash, config_hash
        Of the frames as they lie in the archive, and of model and settings.
    predictions
        Of all these frames.

    Raises
    ------
    StoreError
        If it cannot be written; no partial file is left.
    """
    image = _image(piece, content_hash, config_hash, predictions)
    name = shard_name(config_hash, [(piece, content_hash)])
    write_durably(folder / name, image)
    return _record(name, image, piece, content_hash, config_hash, len(predictions))


def read_prediction_shard(path: Path) -> Predictions:
    """All of a shard.

    Raises
    ------
    StoreError
        If it is missing, damaged, or of another version.
    """
    return _parse(_bytes_of(path), path)[0]


def inspect_prediction_shard(path: Path) -> ShardRecord:
    """The record of a shard that is on the disk but not in the index; raises as ``read_prediction_shard``."""
    image = _bytes_of(path)
    predictions, piece, content_hash, config_hash = _parse(image, path)
    return _record(path.name, image, piece, content_hash, config_hash, len(predictions))


def _record(name: str, image: bytes, piece: str, content_hash: str, config_hash: str, rows: int) -> ShardRecord:
    checksum = hashlib.blake2b(image, digest_size=_DIGEST_BYTES).hexdigest()
    place = StructureRows(piece, content_hash, 0, rows, 0, checksum)
    return ShardRecord(name, config_hash, rows, 1, len(image), checksum, (place,))


def _image(piece: str, content_hash: str, config_hash: str, predictions: Predictions) -> bytes:
    image = BytesIO()
    with new_file(image) as file:
        file.attrs["schema_version"] = SCHEMA_VERSION
        set_text(file, creator=_FORMAT, default="entry", content_digest=_digest(predictions))
        entry = nx_group(file, "entry", "NXentry")
        set_text(entry, default="predictions", piece=piece, content_hash=content_hash, config_hash=config_hash)
        set_text(entry, code_version=hpc_mlsm.__version__)
        data = nx_group(entry, "predictions", "NXdata")
        set_text(data, signal="probabilities")
        data.attrs["calibrated"] = predictions.calibrated
        data.attrs["axes"] = np.array([b"frames", b"."])
        for name in COLUMNS:
            write_bulk(data, name, getattr(predictions, name))
        if predictions.notes:
            write_texts(entry, "notes", predictions.notes)
        if predictions.rejects:
            rejects = nx_group(entry, "rejects", "NXcollection")
            write_bulk(rejects, "frame", np.array([one.frame for one in predictions.rejects], dtype=np.int64))
            write_texts(rejects, "reason", [one.reason for one in predictions.rejects])
            write_texts(rejects, "detail", [one.detail for one in predictions.rejects])
    return image.getvalue()


def _parse(image: bytes, path: Path) -> tuple[Predictions, str, str, str]:
    try:
        with h5py.File(BytesIO(image), "r") as file:
            if "creator" not in file.attrs or get_text(file, "creator") != _FORMAT:
                raise StoreError(f"{path} is an HDF5 file, but no prediction shard of hpc_mlsm")
            if file.attrs["schema_version"] != SCHEMA_VERSION:
                raise StoreError(
                    f"{path} is of version {file.attrs['schema_version']}, not {SCHEMA_VERSION}: run predict again"
                )
            entry = file["entry"]
            rejects = entry.get("rejects")
            predictions = Predictions(
                **{name: entry["predictions"][name][()] for name in COLUMNS},
                notes=tuple(entry["notes"].asstr()[:]) if "notes" in entry else (),
                rejects=() if rejects is None else _rejects(rejects),
                calibrated=bool(entry["predictions"].attrs["calibrated"]),
            )
            digest = get_text(file, "content_digest")
            names = [get_text(entry, name) for name in ("piece", "content_hash", "config_hash")]
    except H5_ERRORS as error:
        raise StoreError(f"{path} is damaged and cannot be read ({error}): run predict again, it redoes it") from error
    if digest != _digest(predictions):
        raise StoreError(f"{path} is damaged: the content does not match its digest; run predict again, it redoes it")
    return predictions, names[0], names[1], names[2]


def _rejects(group: h5py.Group) -> tuple[FrameReject, ...]:
    columns = group["frame"][()].tolist(), group["reason"].asstr()[:], group["detail"].asstr()[:]
    return tuple(FrameReject(*row) for row in zip(*columns, strict=True))


def _digest(predictions: Predictions) -> str:
    whole = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for name in COLUMNS:
        whole.update(np.ascontiguousarray(getattr(predictions, name)).tobytes())
    rejects = [(one.frame, one.reason, one.detail) for one in predictions.rejects]
    whole.update(repr((predictions.notes, rejects, predictions.calibrated)).encode())
    return whole.hexdigest()


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}): run predict again, it redoes it") from error
