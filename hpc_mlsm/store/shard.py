"""One shard on the disk: one writer, one file, never changed after it has its name."""

import hashlib
from pathlib import Path

import h5py

from hpc_mlsm.durable import write_durably
from hpc_mlsm.errors import StoreError
from hpc_mlsm.store.layout import H5_ERRORS, open_image, read_content, to_image
from hpc_mlsm.store.schema import SHARD_NAME, ShardContent, ShardRecord

_DIGEST_BYTES = 16
REDO = "run simulate again: it finds the shard by its checksum and redoes it"


def write_shard(folder: Path, name: str, content: ShardContent) -> ShardRecord:
    """Write a shard; it is in the store only once its record is in the index.

    Parameters
    ----------
    folder : Path
        Folder of the store; must exist.
    name : str
        File name, ``shard-….h5``; ``schema.shard_name`` makes one that suits the content.
    content : ShardContent
        What to write.

    Returns
    -------
    ShardRecord
        For ``PatternStore.record``.

    Raises
    ------
    StoreError
        If the content contradicts itself or is not finite, or the file cannot be written, for instance because the
        disk is full. No partial file is left.
    """
    if not SHARD_NAME.fullmatch(name):
        raise StoreError(f"a shard cannot be named {name!r}: the name must be like 'shard-0f3a.h5'")
    content.check()
    image = to_image(content)
    write_durably(folder / name, image)
    return _record(name, content, len(image), hashlib.blake2b(image, digest_size=_DIGEST_BYTES).hexdigest())


def read_shard(path: Path) -> ShardContent:
    """All of a shard, checked against the digest inside it.

    Raises
    ------
    StoreError
        If the file is missing, truncated, altered, no shard, or of another schema version.
    """
    return _parse(_bytes_of(path), path)


def inspect_shard(path: Path) -> ShardRecord:
    """The record of a shard that is on the disk but not in the index; reads and checks all of it.

    Raises
    ------
    StoreError
        As ``read_shard``.
    """
    image = _bytes_of(path)
    digest = hashlib.blake2b(image, digest_size=_DIGEST_BYTES).hexdigest()
    return _record(path.name, _parse(image, path), len(image), digest)


def checksum(path: Path) -> str:
    """blake2b of a file's bytes, hexadecimal; reads in bounded memory.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=_DIGEST_BYTES)).hexdigest()


def open_shard(path: Path) -> h5py.File:
    """Open a shard for reading, without file locks, which network file systems may not have.

    Raises
    ------
    StoreError
        If it cannot be opened.
    """
    try:
        return h5py.File(path, "r", locking=False)
    except H5_ERRORS as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> StoreError:
    """The error to raise when a shard cannot be read."""
    if not path.exists():
        return StoreError(f"{path} is missing, though the index lists it: {REDO}")
    return StoreError(f"{path} is damaged and cannot be read ({error}): {REDO}")


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise damaged(path, error) from error


def _parse(image: bytes, path: Path) -> ShardContent:
    try:
        with open_image(image) as file:
            return read_content(file, path)
    except H5_ERRORS as error:
        raise damaged(path, error) from error


def _record(name: str, content: ShardContent, size: int, digest: str) -> ShardRecord:
    return ShardRecord(
        name=name,
        config_hash=content.config_hash,
        rows=len(content.patterns),
        n_structures=len(content.structure_ids),
        size=size,
        checksum=digest,
        structures=content.structures(),
    )
