"""Keeping index and shards true to each other: adopt, verify, drop, compact. ``PatternStore`` is the way in."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_mlsm.durable import is_stale_part
from hpc_mlsm.errors import StoreError
from hpc_mlsm.store.index import Index
from hpc_mlsm.store.schema import SHARD_NAME, ShardRecord, shard_name
from hpc_mlsm.store.shard import checksum, inspect_shard, read_shard, write_shard

CHECKSUM_THREADS = 8


@dataclass(frozen=True, slots=True)
class AdoptReport:
    """File names: shards taken over, files deleted as left over, and files renamed to ``….bad`` as not usable."""

    adopted: tuple[str, ...]
    removed: tuple[str, ...]
    set_aside: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What ``verify`` found: how many shards it looked at, and the names of those that are not as recorded.

    ``truncated`` holds those of another size, ``altered`` those of the right size with another checksum.
    """

    checked: int
    missing: tuple[str, ...]
    truncated: tuple[str, ...]
    altered: tuple[str, ...]

    @property
    def bad(self) -> tuple[str, ...]:
        """All names in the report."""
        return self.missing + self.truncated + self.altered


def adopt(
    folder: Path, index: Index, config_hash: str, inspect: Callable[[Path], ShardRecord] = inspect_shard
) -> AdoptReport:
    """Take over finished shards that are not in the index; see ``PatternStore.adopt``.

    ``inspect`` gives the record of a shard, and raises a StoreError for what is none.
    """
    known = {name: size for name, (size, _) in index.shards().items()}
    removed, candidates = bury(folder, index), []
    for path in _files(folder):
        if is_stale_part(path):
            _delete(path)
            removed.append(path.name)
        elif SHARD_NAME.fullmatch(path.name) and known.get(path.name) != _size_of(path):
            candidates.append(path)
    adopted, set_aside = [], []
    for path in candidates:
        try:
            record = inspect(path)
        except StoreError:
            index.forget_shard(path.name)
            _set_aside(path)
            set_aside.append(path.name)
            continue
        if record.config_hash == config_hash and index.adopt(record):
            adopted.append(path.name)
        else:
            index.forget_shard(path.name)
            _delete(path)
            removed.append(path.name)
    return AdoptReport(tuple(adopted), tuple(removed), tuple(set_aside))


def verify(folder: Path, index: Index, full: bool) -> VerifyReport:
    """Compare the shards with the index; see ``PatternStore.verify``."""
    if full:
        index.check()
    known = index.shards()
    sizes = {name: _size_of(folder / name) for name in known}
    missing = [name for name, found in sizes.items() if found is None]
    right_size = [name for name, found in sizes.items() if found == known[name][0]]
    truncated = sorted(sizes.keys() - {*missing, *right_size})
    altered = []
    if full:
        with ThreadPoolExecutor(CHECKSUM_THREADS) as pool:
            sums = pool.map(_checksum_of, [folder / name for name in right_size])
            altered = [name for name, found in zip(right_size, sums, strict=True) if found != known[name][1]]
    report = VerifyReport(len(known), tuple(missing), tuple(truncated), tuple(altered))
    if index.mode == "a":
        for name in report.bad:
            index.forget_shard(name)
            _set_aside(folder / name)
    return report


def missing(index: Index, wanted: Sequence[tuple[str, str]], config_hash: str) -> list[str]:
    """What of the wanted is not in the index; see ``PatternStore.missing``."""
    # Shards of another configuration are few or none: asked for them, SQLite need not look up the shard of every row.
    other = "(SELECT name FROM shards WHERE config_hash != ?)"
    present = dict(index.rows(f"SELECT id, content_hash FROM structures WHERE shard NOT IN {other}", config_hash))
    return [identifier for identifier, content_hash in wanted if present.get(identifier) != content_hash]


def drop(folder: Path, index: Index, wanted: Sequence[tuple[str, str]], config_hash: str) -> int:
    """Take structures that are not wanted out of the store; see ``PatternStore.drop``."""
    keep = dict(wanted)
    present = index.rows("SELECT id, content_hash FROM structures")
    stale = {identifier for identifier, content_hash in present if keep.get(identifier) != content_hash}
    other = "SELECT id FROM structures WHERE shard IN (SELECT name FROM shards WHERE config_hash != ?)"
    stale |= {identifier for (identifier,) in index.rows(other, config_hash)}
    index.forget_structures(sorted(stale))
    bury(folder, index)
    return len(stale)


def compact(folder: Path, index: Index, tolerated: float) -> int:
    """Rewrite shards in which too few structures are live; see ``PatternStore.compact``."""
    query = """SELECT name FROM shards JOIN (SELECT shard, count(*) AS live FROM structures GROUP BY shard)
               ON shard = name WHERE n_structures - live > ? * n_structures ORDER BY name"""
    rewritten = 0
    for (name,) in list(index.rows(query, tolerated)):
        live = list(index.rows("SELECT position FROM structures WHERE shard = ? ORDER BY position", name))
        if live:
            content = read_shard(folder / name).select(np.array(live, dtype=np.int64)[:, 0])
            pairs = list(zip(content.structure_ids, content.content_hashes, strict=True))
            index.record(write_shard(folder, shard_name(content.config_hash, pairs), content))
            rewritten += 1
    index.forget_structures([])
    bury(folder, index)
    return rewritten


def bury(folder: Path, index: Index) -> list[str]:
    """Delete the files of doomed shards, also those that an earlier process was killed before deleting."""
    names = index.doomed()
    for name in names:
        _delete(folder / name)
    if names:
        index.buried(names)
    return names


def _files(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.is_file(follow_symlinks=False))


def _set_aside(path: Path) -> None:
    try:
        path.replace(path.with_name(f"{path.name}.bad"))
    except FileNotFoundError:
        return
    except OSError as error:
        raise _refused(path, "renamed", error) from error


def _delete(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _refused(path, "deleted", error) from error


def _refused(path: Path, what: str, error: OSError) -> StoreError:
    return StoreError(f"{path} cannot be {what} ({error.strerror}): make its folder writable, then run again")


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _checksum_of(path: Path) -> str:
    try:
        return checksum(path)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise StoreError(
            f"{path} cannot be read ({error}): see that its disk is well and run again; to have the shard redone, "
            "delete it first"
        ) from error
