"""The catalogue's tables, and how its file is opened, checked and blamed."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hpc_mlsm.errors import CatalogueError

VERSION = 2
"""Version of the tables, in ``PRAGMA user_version``. Raise it with any change to them."""

APPLICATION_ID = 0x6D6C736D
"""Marks the SQLite file as a catalogue ("mlsm")."""

BUSY_TIMEOUT_S = 30.0
"""How long one process waits for another that is writing."""

SUMMARY_COLUMNS = (
    "id, name, formula, elements, n_elements, space_group, space_group_symbol, a, b, c, alpha, beta, gamma, "
    "volume, density, n_sites, n_atoms, cod_id, source, content_hash, notes, file, r_factor, chemistry"
)

_TABLES = """
CREATE TABLE IF NOT EXISTS structures (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, formula TEXT NOT NULL, elements TEXT NOT NULL,
    n_elements INTEGER NOT NULL, space_group INTEGER NOT NULL, space_group_symbol TEXT NOT NULL,
    a REAL NOT NULL, b REAL NOT NULL, c REAL NOT NULL,
    alpha REAL NOT NULL, beta REAL NOT NULL, gamma REAL NOT NULL,
    volume REAL NOT NULL, density REAL NOT NULL, n_sites INTEGER NOT NULL, n_atoms INTEGER NOT NULL,
    cod_id INTEGER, source TEXT NOT NULL, content_hash TEXT NOT NULL, notes TEXT NOT NULL, file TEXT NOT NULL,
    r_factor REAL, chemistry TEXT NOT NULL, json TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS structures_by_file ON structures (file);
CREATE INDEX IF NOT EXISTS structures_by_content ON structures (id, content_hash);
CREATE TABLE IF NOT EXISTS rejects (
    id TEXT NOT NULL, source TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, file TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS rejects_by_file ON rejects (file);
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, sha256 TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    parser INTEGER NOT NULL, outcome TEXT NOT NULL
);
"""


def open_database(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """A checked connection; a writing one makes the tables where there is no catalogue yet.

    Raises
    ------
    CatalogueError
        If there is nothing to read, or the file is no catalogue, damaged, of another version, or in use.
    """
    if read_only and not path.is_file():
        raise CatalogueError(f"there is no catalogue {path}; run the ingest stage first")
    if not path.parent.is_dir():
        raise CatalogueError(f"the catalogue {path} cannot be made: there is no folder {path.parent}")
    with translated_errors(path):
        mode = "ro" if read_only else "rwc"
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            _check(connection, path, read_only=read_only)
        except (sqlite3.Error, CatalogueError):
            connection.close()
            raise
    return connection


def close_database(connection: sqlite3.Connection, *, read_only: bool) -> None:
    """Close; a writer leaves one plain file, which can be read where write-ahead logs cannot (read-only disks)."""
    if not read_only:
        # Where readers hold the log it stays, and is as good; the next writer to close merges it.
        with suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA busy_timeout = 0")
            connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()


@contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into a CatalogueError that says what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise CatalogueError(f"catalogue {path}: {error}; {_remedy(str(error))}") from error


def _remedy(message: str) -> str:
    if "locked" in message or "busy" in message:
        return "another process is writing to it: wait for that run or stop it, then start again"
    if "full" in message:
        return "free some space and start again: what was stored is kept"
    if "readonly" in message or "unable to open" in message:
        return "check that the file and its folder exist and can be written to"
    return "it is damaged or no catalogue: delete it and run the ingest stage again"


def _check(connection: sqlite3.Connection, path: Path, *, read_only: bool) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables == 0 and not read_only:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(
            f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {VERSION};"
            f"PRAGMA application_id = {APPLICATION_ID}; COMMIT;"
        )
        return
    if application != APPLICATION_ID:
        raise CatalogueError(f"{path} is not a structure catalogue; name another file or delete it")
    if version != VERSION:
        raise CatalogueError(
            f"catalogue {path} has version {version}, this program reads {VERSION}; "
            "delete it and run the ingest stage again"
        )
    if not read_only:
        connection.execute("PRAGMA journal_mode = WAL")
