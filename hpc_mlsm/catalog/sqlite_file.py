"""The catalogue's tables, and how its file is opened, checked and blamed."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hpc_mlsm.catalog.rows import Summary
from hpc_mlsm.errors import CatalogueError
from hpc_mlsm.store.journal import choose_journal

VERSION = 3
"""Version of the tables, in ``PRAGMA user_version``. Raise it with any change to them."""

APPLICATION_ID = 0x6D6C736D
"""Marks the SQLite file as a catalogue ("mlsm")."""

BUSY_TIMEOUT_S = 30.0
"""How long one process waits for another that is writing."""

REBUILD = "make it anew with catalog rebuild, which reads no file twice, or delete it and run the ingest stage again"

SUMMARY_COLUMNS = ", ".join(Summary.__dataclass_fields__)
"""Columns of the table of structures, in the order of the fields of ``Summary``."""

_TABLES = """
CREATE TABLE structures (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, formula TEXT NOT NULL, elements TEXT NOT NULL,
    n_elements INTEGER NOT NULL, space_group INTEGER NOT NULL, space_group_symbol TEXT NOT NULL,
    a REAL NOT NULL, b REAL NOT NULL, c REAL NOT NULL,
    alpha REAL NOT NULL, beta REAL NOT NULL, gamma REAL NOT NULL,
    volume REAL NOT NULL, density REAL NOT NULL, n_sites INTEGER NOT NULL, n_atoms INTEGER NOT NULL,
    cod_id INTEGER, source TEXT NOT NULL, content_hash TEXT NOT NULL, notes TEXT NOT NULL, file TEXT NOT NULL,
    r_factor REAL, chemistry TEXT NOT NULL,
    year INTEGER, temperature REAL, pressure REAL, z INTEGER, revision INTEGER, flags TEXT NOT NULL,
    symmetry INTEGER NOT NULL
);
CREATE INDEX structures_by_file ON structures (file);
CREATE INDEX structures_by_content ON structures (id, content_hash);
CREATE INDEX structures_by_formula ON structures (formula, space_group, volume);
CREATE INDEX structures_by_space_group ON structures (space_group, n_atoms);
CREATE INDEX structures_by_atoms ON structures (n_atoms);
CREATE INDEX structures_by_cod_id ON structures (cod_id) WHERE cod_id IS NOT NULL;
CREATE INDEX structures_by_year ON structures (year) WHERE year IS NOT NULL;
CREATE TABLE atoms (structure INTEGER PRIMARY KEY, sites TEXT NOT NULL);
CREATE TABLE symmetries (key INTEGER PRIMARY KEY, operations TEXT NOT NULL UNIQUE);
CREATE TABLE structure_elements (
    element TEXT NOT NULL, structure INTEGER NOT NULL, PRIMARY KEY (element, structure)
) WITHOUT ROWID;
CREATE TRIGGER structure_leaves AFTER DELETE ON structures BEGIN
    DELETE FROM atoms WHERE structure = old.key;
    DELETE FROM structure_elements WHERE structure = old.key AND element IN (
        SELECT value FROM json_each('["' || replace(old.elements, ' ', '","') || '"]')
    );
END;
CREATE TABLE rejects (
    id TEXT NOT NULL, source TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, file TEXT NOT NULL
);
CREATE INDEX rejects_by_file ON rejects (file);
CREATE INDEX rejects_by_id ON rejects (id);
CREATE TABLE files (
    path TEXT PRIMARY KEY, sha256 TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    parser INTEGER NOT NULL, outcome TEXT NOT NULL
);
CREATE TABLE revisions (
    number INTEGER PRIMARY KEY, made TEXT NOT NULL, source TEXT NOT NULL, structures INTEGER NOT NULL,
    rejects INTEGER NOT NULL, fingerprint TEXT NOT NULL
);
CREATE TABLE history (
    id TEXT NOT NULL, number INTEGER NOT NULL, content_hash TEXT, reason TEXT, PRIMARY KEY (id, number)
) WITHOUT ROWID;
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
    return f"it is damaged or no catalogue: {REBUILD}"


def _check(connection: sqlite3.Connection, path: Path, *, read_only: bool) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables == 0 and not read_only:
        choose_journal(connection, path.parent)
        connection.executescript(
            f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {VERSION};"
            f"PRAGMA application_id = {APPLICATION_ID}; COMMIT;"
        )
        return
    if application != APPLICATION_ID:
        raise CatalogueError(f"{path} is not a structure catalogue; name another file or delete it")
    if version != VERSION:
        raise CatalogueError(f"catalogue {path} has version {version}, this program reads {VERSION}; {REBUILD}")
    if not read_only:
        choose_journal(connection, path.parent)
