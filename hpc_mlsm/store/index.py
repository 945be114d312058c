"""The index of a store: which structure lies in which shard. What is not in it is not in the store."""

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal, Self

from hpc_mlsm.errors import StoreError
from hpc_mlsm.store.journal import choose_journal, transaction
from hpc_mlsm.store.schema import SCHEMA_VERSION, ShardRecord, StructureRows

INDEX_NAME = "index.sqlite"
BUSY_TIMEOUT_S = 60.0
"""How long a process waits for another one that is recording."""

Mode = Literal["r", "a"]

_APPLICATION_ID = 0x4D4C534D
_TABLES = f"""
    CREATE TABLE IF NOT EXISTS shards (
        name TEXT PRIMARY KEY,
        config_hash TEXT NOT NULL,
        rows INTEGER NOT NULL,
        n_structures INTEGER NOT NULL,
        size INTEGER NOT NULL,
        checksum TEXT NOT NULL,
        seal TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS structures (
        id TEXT PRIMARY KEY,
        content_hash TEXT NOT NULL,
        first_row INTEGER NOT NULL,
        n_rows INTEGER NOT NULL,
        position INTEGER NOT NULL,
        digest TEXT NOT NULL,
        shard TEXT NOT NULL REFERENCES shards (name),
        seal TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS structures_by_shard ON structures (shard, position);
    CREATE TABLE IF NOT EXISTS doomed (name TEXT PRIMARY KEY) WITHOUT ROWID;
    PRAGMA application_id = {_APPLICATION_ID};
    PRAGMA user_version = {SCHEMA_VERSION};
"""
_REBUILD = "delete it and run the stage that fills it again: finished shards are found and taken over"
_INSERT_STRUCTURE = "INSERT OR REPLACE INTO structures VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


class Index:
    """The SQLite file of a store: tables ``shards``, ``structures`` (those that readers see) and ``doomed``.

    A shard is doomed between the moment when it leaves the index and the moment when its file is deleted, so that a
    kill in between cannot bring it back. An index belongs to the thread that opened it.
    """

    def __init__(self, path: Path, mode: Mode) -> None:
        self.path = path
        self.mode = mode
        with self._errors():
            self._db = _connect(path, mode)
        try:
            with self._errors():
                self._prepare()
        except StoreError:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rows(self, query: str, *values: object) -> Iterator[tuple]:
        """Rows of a query, streamed."""
        with self._errors(), closing(self._db.execute(query, values)) as cursor:
            yield from cursor

    def value(self, query: str, *values: object) -> int:
        """The one integer that a query gives."""
        return int(next(self.rows(query, *values))[0])

    def config_hashes(self) -> list[str]:
        """Configurations that structures in the index were computed with; sorted. More than one is trouble."""
        query = """SELECT DISTINCT config_hash FROM shards
                   WHERE EXISTS (SELECT 1 FROM structures WHERE shard = shards.name) ORDER BY 1"""
        return [row[0] for row in self.rows(query)]

    def shards(self) -> dict[str, tuple[int, str]]:
        """Size (bytes) and checksum of every shard, by name, sorted."""
        query = "SELECT name, size, checksum FROM shards ORDER BY name"
        return {name: (size, checksum) for name, size, checksum in self.rows(query)}

    def check(self) -> None:
        """Look through the whole file for damage; a StoreError says what was found."""
        found = " ".join(str(next(self.rows("PRAGMA integrity_check(1)"))[0]).split())
        if found != "ok":
            raise self._damaged(found)
        for table in ("shards", "structures"):
            for row in self.rows(f"SELECT * FROM {table}"):
                self.require_seal(row)

    def require_seal(self, row: tuple) -> None:
        """Refuse a row of ``shards`` or ``structures`` that is not as it was put in: SQLite has no checksums."""
        if _sealed(*row[:-1]) != row:
            raise self._damaged(f"the row of {row[0]!r} is altered")

    def _damaged(self, found: str) -> StoreError:
        return StoreError(f"{self.path} is damaged ({found}); {_REBUILD}")

    def record(self, record: ShardRecord) -> None:
        """Put a shard in; its structures replace those of the same id. Nothing happens if it is in already."""
        with self._writing():
            if not self._holds(record):
                self._db.execute("DELETE FROM structures WHERE shard = ?", (record.name,))
                self._insert(record, record.structures)

    def adopt(self, record: ShardRecord) -> bool:
        """Put in those structures of a shard that are not there under the same configuration; False if none."""
        with self._writing():
            self._db.execute("DELETE FROM structures WHERE shard = ?", (record.name,))
            present = """SELECT 1 FROM structures JOIN shards ON shard = name
                         WHERE id = ? AND config_hash = ?"""
            new = [
                row
                for row in record.structures
                if self._db.execute(present, (row.id, record.config_hash)).fetchone() is None
            ]
            if new:
                self._insert(record, new)
            else:
                self._db.execute("DELETE FROM shards WHERE name = ?", (record.name,))
        return bool(new)

    def forget_shard(self, name: str) -> None:
        """Take a shard out; its structures are then missing."""
        with self._writing():
            self._db.execute("DELETE FROM structures WHERE shard = ?", (name,))
            self._db.execute("DELETE FROM shards WHERE name = ?", (name,))

    def forget_structures(self, ids: Iterable[str]) -> None:
        """Take structures out, and doom every shard of which no structure is left."""
        with self._writing():
            self._db.executemany("DELETE FROM structures WHERE id = ?", ((identifier,) for identifier in ids))
            empty = "FROM shards WHERE NOT EXISTS (SELECT 1 FROM structures WHERE shard = shards.name)"
            self._db.execute(f"INSERT OR IGNORE INTO doomed SELECT name {empty}")
            self._db.execute(f"DELETE {empty}")

    def doomed(self) -> list[str]:
        """Names of shards whose files are still to be deleted."""
        return [row[0] for row in self.rows("SELECT name FROM doomed ORDER BY name")]

    def buried(self, names: Iterable[str]) -> None:
        """Say that the files of these doomed shards are gone."""
        with self._writing():
            self._db.executemany("DELETE FROM doomed WHERE name = ?", ((name,) for name in names))

    def _holds(self, record: ShardRecord) -> bool:
        query = "SELECT 1 FROM shards WHERE name = ? AND checksum = ?"
        return self._db.execute(query, (record.name, record.checksum)).fetchone() is not None

    def _insert(self, record: ShardRecord, structures: Sequence[StructureRows]) -> None:
        values = (record.name, record.config_hash, record.rows, record.n_structures, record.size, record.checksum)
        self._db.execute("INSERT OR REPLACE INTO shards VALUES (?, ?, ?, ?, ?, ?, ?)", _sealed(*values))
        rows = (
            _sealed(row.id, row.content_hash, row.first_row, row.n_rows, row.position, row.digest, record.name)
            for row in structures
        )
        self._db.executemany(_INSERT_STRUCTURE, rows)
        self._db.execute("DELETE FROM doomed WHERE name = ?", (record.name,))

    def _prepare(self) -> None:
        application = self._db.execute("PRAGMA application_id").fetchone()[0]
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if application == _APPLICATION_ID and version == SCHEMA_VERSION:
            if self.mode == "a":
                choose_journal(self._db, self.path.parent)
            return
        if application == _APPLICATION_ID:
            raise StoreError(
                f"{self.path} has schema version {version}, but this program reads version {SCHEMA_VERSION}: "
                "use the program version that wrote it, or simulate into a new run directory"
            )
        if self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise StoreError(f"{self.path} is a database, but not the index of a pattern store: move it away")
        if self.mode == "r":
            raise StoreError(f"{self.path} is empty: run the stage that fills it first")
        with self._writing():
            for statement in _TABLES.split(";"):
                self._db.execute(statement)
        choose_journal(self._db, self.path.parent)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if self.mode == "r":
            raise StoreError(f"{self.path} was opened for reading only: open the store with mode 'a' to change it")
        with self._errors(), transaction(self._db):
            yield

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _translate(self.path, error) from error
        except UnicodeDecodeError as error:
            raise self._damaged(str(error)) from error


def _sealed(*values: object) -> tuple:
    """A row with a hash of it as its last value."""
    return (*values, hashlib.blake2b(repr(values).encode(errors="replace"), digest_size=8).hexdigest())


def _connect(path: Path, mode: Mode) -> sqlite3.Connection:
    # mode=rw for readers too: SQLite falls back to reading where it may not write, and where it may, it can finish
    # what a killed writer left in the journal.
    uri = f"{path.absolute().as_uri()}?mode={'rwc' if mode == 'a' else 'rw'}"
    if mode == "r" and not os.access(path.parent, os.W_OK) and not _pending(path):
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"  # no room for the files that WAL puts beside it
    db = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    if mode == "r":
        db.execute("PRAGMA query_only = ON")
    return db


def _pending(path: Path) -> bool:
    """Whether a writer is at work, or was killed, so that the database alone is not the whole truth."""
    journals = (path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-journal"))
    return any(journal.exists() and journal.stat().st_size for journal in journals)


def _translate(path: Path, error: sqlite3.Error) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    remedies = {
        sqlite3.SQLITE_FULL: "the disk is full: free some space, then run again",
        sqlite3.SQLITE_BUSY: "another process holds it: wait for that one to end, then run again",
        sqlite3.SQLITE_READONLY: "make the folder writable, or put the run directory elsewhere",
        sqlite3.SQLITE_CANTOPEN: "see that the folder exists, may be read and, to change the store, is writable",
        sqlite3.SQLITE_IOERR: "see that the disk is not full and that its file system allows file locks (flock)",
    }
    remedy = remedies.get(code, _REBUILD)  # what is left are the many faces of a damaged file
    return StoreError(f"{path}: the index of the pattern store cannot be used ({error}); {remedy}")
