"""A local mirror of a database of CIFs: which files it has, since when, and which were withdrawn at the source.

``cif/`` holds the files in the source's layout (``cif/1/00/00/1000000.cif``), ``withdrawn/`` those that the source no
longer has, and ``mirror.sqlite`` a row for every file that ever was, with the number of the sync that brought, changed
or withdrew it. A range, such as ``1/00``, is recorded in one step when all of its files are there.
"""

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hpc_mlsm.catalog.cif_folder import CifFile, scan_folder
from hpc_mlsm.catalog.rsync import RemoteFile
from hpc_mlsm.catalog.sqlite_file import BUSY_TIMEOUT_S
from hpc_mlsm.errors import CatalogueError
from hpc_mlsm.store.journal import choose_journal, transaction

DATABASE = "mirror.sqlite"
FILES, WITHDRAWN = "cif", "withdrawn"
_VERSION = 1
_TABLES = f"""
CREATE TABLE syncs (
    number INTEGER PRIMARY KEY, source TEXT NOT NULL, ranges TEXT NOT NULL, started TEXT NOT NULL, finished TEXT,
    list_hash TEXT
);
CREATE TABLE ranges (
    sync INTEGER NOT NULL, range TEXT NOT NULL, files INTEGER NOT NULL, bytes INTEGER NOT NULL,
    added INTEGER NOT NULL, changed INTEGER NOT NULL, withdrawn INTEGER NOT NULL, list_hash TEXT NOT NULL,
    made TEXT NOT NULL, PRIMARY KEY (sync, range)
);
CREATE TABLE files (
    path TEXT PRIMARY KEY, range TEXT NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL,
    added INTEGER NOT NULL, changed INTEGER NOT NULL, withdrawn INTEGER
) WITHOUT ROWID;
CREATE INDEX files_by_range ON files (range);
PRAGMA user_version = {_VERSION};
"""


@dataclass(frozen=True)
class RangeChange:
    """What the source has in a range that the mirror has not, or has otherwise, or no longer has."""

    range: str
    added: tuple[str, ...]
    changed: tuple[str, ...]
    withdrawn: tuple[str, ...]
    files: int
    bytes: int
    list_hash: str


@dataclass(frozen=True)
class Sync:
    """One sync: its number, source and ranges; ``finished`` and ``list_hash`` are None while ranges are missing."""

    number: int
    source: str
    ranges: tuple[str, ...]
    started: str
    finished: str | None
    list_hash: str | None


class Mirror:
    """The record of a mirror; one process writes to it.

    Raises
    ------
    CatalogueError
        If the record is damaged, of another version, in use or cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with self._errors():
            self._db = sqlite3.connect(folder / DATABASE, timeout=BUSY_TIMEOUT_S, isolation_level=None)
            choose_journal(self._db, folder)
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self._db.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
            elif version != _VERSION:
                raise CatalogueError(f"{folder} is a mirror of version {version}, this program reads {_VERSION}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def begin(self, source: str, ranges: Sequence[str]) -> tuple[Sync, frozenset[str]]:
        """The sync to go on with, and the ranges that it has already: the last one if it is the same, unfinished."""
        last = self.last_sync()
        if last and last.finished is None and (last.source, last.ranges) == (source, tuple(ranges)):
            done = self._rows("SELECT range FROM ranges WHERE sync = ?", last.number)
            return last, frozenset(row[0] for row in done)
        with self._transaction():
            self._db.execute(
                "INSERT INTO syncs (source, ranges, started) VALUES (?, ?, ?)", (source, " ".join(ranges), _now())
            )
        begun = self.last_sync()
        assert begun is not None
        return begun, frozenset()

    def last_sync(self, *, finished: bool = False) -> Sync | None:
        """The last sync, or the last that came to its end."""
        only = "WHERE finished IS NOT NULL" if finished else ""
        columns = "number, source, ranges, started, finished, list_hash"
        for row in self._rows(f"SELECT {columns} FROM syncs {only} ORDER BY number DESC LIMIT 1"):
            return Sync(row[0], row[1], tuple(row[2].split()), *row[3:])
        return None

    def compare(self, name: str, upstream: Sequence[RemoteFile]) -> RangeChange:
        """What the source's list of a range means for the mirror."""
        known = self._known(name)
        there = {f"{name}/{file.name}": (file.size, file.mtime) for file in upstream}
        listing = "\n".join(f"{path}\t{size}\t{mtime}" for path, (size, mtime) in sorted(there.items()))
        return RangeChange(
            range=name,
            added=tuple(sorted(there.keys() - known.keys())),
            changed=tuple(sorted(path for path in there.keys() & known.keys() if there[path] != known[path])),
            withdrawn=tuple(sorted(known.keys() - there.keys())),
            files=len(there),
            bytes=sum(file.size for file in upstream),
            list_hash=hashlib.sha256(listing.encode()).hexdigest(),
        )

    def lacking(self, name: str, upstream: Sequence[RemoteFile]) -> list[str]:
        """Files of the source's list of a range that do not lie here in full."""
        return [file.name for file in upstream if _size(self.folder / FILES / name / file.name) != file.size]

    def record(self, sync: int, change: RangeChange, upstream: Sequence[RemoteFile]) -> None:
        """Record that a range is complete. Withdrawn files move to ``withdrawn/``, after their tombstones are made."""
        sizes = {f"{change.range}/{file.name}": (file.size, file.mtime) for file in upstream}
        with self._transaction():
            self._db.executemany(
                "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, NULL) ON CONFLICT (path) DO UPDATE SET "
                "size = excluded.size, mtime = excluded.mtime, changed = excluded.changed, withdrawn = NULL",
                [(path, change.range, *sizes[path], sync, sync) for path in (*change.added, *change.changed)],
            )
            self._db.executemany("UPDATE files SET withdrawn = ? WHERE path = ?", [(sync, p) for p in change.withdrawn])
            counts = (change.files, change.bytes, len(change.added), len(change.changed), len(change.withdrawn))
            row = (sync, change.range, *counts, change.list_hash, _now())
            self._db.execute("INSERT OR REPLACE INTO ranges VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        self.clear_withdrawn(change.range)

    def clear_withdrawn(self, name: str) -> None:
        """Move what has a tombstone out of the tree, also what a killed sync left there."""
        for (path,) in list(self._rows("SELECT path FROM files WHERE range = ? AND withdrawn IS NOT NULL", name)):
            old, new = self.folder / FILES / path, self.folder / WITHDRAWN / path
            if old.exists():
                new.parent.mkdir(parents=True, exist_ok=True)
                old.replace(new)

    def finish(self, sync: int) -> Sync:
        """Record that all ranges of a sync are there."""
        hashes = self._rows("SELECT range, list_hash FROM ranges WHERE sync = ? ORDER BY range", sync)
        whole = hashlib.sha256("\n".join(" ".join(row) for row in hashes).encode()).hexdigest()
        with self._transaction():
            values = (_now(), whole, sync)
            self._db.execute("UPDATE syncs SET finished = ?, list_hash = ? WHERE number = ?", values)
        last = self.last_sync(finished=True)
        assert last is not None
        return last

    def totals(self, sync: int) -> tuple[int, int, int, int]:
        """Files added, changed and withdrawn by a sync, and files in its ranges."""
        query = "SELECT total(added), total(changed), total(withdrawn), total(files) FROM ranges WHERE sync = ?"
        added, changed, withdrawn, files = next(self._rows(query, sync))
        return int(added), int(changed), int(withdrawn), int(files)

    def tombstones(self) -> dict[str, int]:
        """Files that were withdrawn at the source, and by which sync that was found."""
        return dict(self._rows("SELECT path, withdrawn FROM files WHERE withdrawn IS NOT NULL ORDER BY path"))

    def cif_files(self) -> list[CifFile]:
        """The files of all ranges that are complete, ordered by name; their ids are their numbers alone."""
        rows = self._rows("SELECT path, size, mtime FROM files WHERE withdrawn IS NULL ORDER BY path")
        root = str(self.folder / FILES)
        return [
            CifFile(f"{root}/{path}", path, path.rpartition("/")[2].removesuffix(".cif"), size, mtime * 1_000_000_000)
            for path, size, mtime in rows
        ]

    def _known(self, name: str) -> Mapping[str, tuple[int, int]]:
        rows = self._rows("SELECT path, size, mtime FROM files WHERE range = ? AND withdrawn IS NULL", name)
        return {path: (size, mtime) for path, size, mtime in rows}

    def _rows(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        with self._errors():
            yield from self._db.execute(query, values)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._errors(), transaction(self._db):
            yield

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise CatalogueError(
                f"the record {self.folder / DATABASE} cannot be used ({error}); free the disk, wait for the process "
                "that holds it, or, where it is damaged, delete it and sync again: what is there is not fetched again"
            ) from error


def is_mirror(folder: Path) -> bool:
    """Whether a folder is a mirror."""
    return (folder / DATABASE).is_file()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def source_files(folder: Path) -> list[CifFile]:
    """The CIFs of a mirror, as it has recorded them, or of any other folder, as they lie there.

    Raises
    ------
    CatalogueError
        As ``scan_folder`` does, and where a mirror has no complete range yet.
    """
    if not is_mirror(folder):
        return scan_folder(folder)
    with Mirror(folder) as mirror:
        files = mirror.cif_files()
    if not files:
        raise CatalogueError(f"the mirror {folder} has no complete range yet; run catalog sync first")
    return files


def described(folder: Path) -> str:
    """A folder in words, a mirror with its last complete sync."""
    if not is_mirror(folder):
        return str(folder)
    with Mirror(folder) as mirror:
        last = mirror.last_sync(finished=True)
    if last is None:
        return f"mirror {folder}, first sync unfinished"
    return f"mirror {folder}, sync {last.number} of {last.source} ({(last.list_hash or '')[:16]})"
