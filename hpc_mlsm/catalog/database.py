"""The catalogue: all structures of a run, what was refused and why, and which files they came from."""

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hpc_mlsm.catalog.diff import CatalogueState
from hpc_mlsm.catalog.rows import (
    CellContent,
    Counts,
    FileRecord,
    FileResult,
    StoredStructure,
    Summary,
    content_fingerprint,
    restored,
    values_of,
)
from hpc_mlsm.catalog.sqlite_file import REBUILD, SUMMARY_COLUMNS, close_database, open_database, translated_errors
from hpc_mlsm.errors import CatalogueError, ConfigError
from hpc_mlsm.store.journal import transaction
from hpc_mlsm.structures.structure import Reject, Structure

_CHUNK = 500
_WITH_ATOMS = "structures JOIN atoms ON atoms.structure = structures.key"
_FIELDS = tuple(Summary.__dataclass_fields__)
_LISTS = tuple(_FIELDS.index(name) for name in ("elements", "notes", "flags"))
_INSERT = f"INSERT INTO structures ({SUMMARY_COLUMNS}, symmetry) VALUES ({', '.join('?' * (len(_FIELDS) + 1))})"


class Catalogue:
    """A catalogue of structures in one SQLite file, for one writer and any number of readers.

    Use it as a context manager. Everything that ``add`` gets is stored at once or not at all, so a killed writer
    leaves whole files behind. Rows come ordered by id. Connections do not cross process borders: send ``path``.

    Parameters
    ----------
    path : Path
        The file; made where it does not exist, unless ``read_only``.
    read_only : bool
        Neither change the catalogue nor hinder a process that writes to it.

    Raises
    ------
    CatalogueError
        If there is nothing to read, or the file is no catalogue, damaged, of another version, or in use. Every
        method raises it when the file turns out to be damaged or the disk full.
    """

    def __init__(self, path: Path | str, *, read_only: bool = False) -> None:
        self.path = Path(path)
        self.read_only = read_only
        self._connection = open_database(self.path, read_only=read_only)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the catalogue cannot be used afterwards."""
        close_database(self._connection, read_only=self.read_only)

    def add(self, results: Iterable[FileResult]) -> list[Reject]:
        """Store what came of files, in one transaction, in place of what they gave before.

        Where two files give a structure of the same id, the one whose path sorts first keeps it, whichever comes
        first; the other is refused, and read again by the next ingest.

        Returns
        -------
        list of Reject
            The structures refused for their ids.
        """
        duplicates: list[Reject] = []
        with self.transaction() as connection:
            for result in results:
                record = result.record
                if result.unchanged:
                    stamp = (record.size, record.mtime_ns, record.path)
                    connection.execute("UPDATE files SET size = ?, mtime_ns = ? WHERE path = ?", stamp)
                    continue
                _forget(connection, [record.path])
                connection.execute("INSERT INTO files VALUES (?, ?, ?, ?, ?, ?)", _file_row(record))
                for reject in result.rejects:
                    _insert_reject(connection, reject, record.path)
                for entry in result.structures:
                    duplicates += _insert(connection, entry, record.path)
        return duplicates

    def remove_missing(self, present: Collection[str]) -> list[str]:
        """Remove the files that are not among ``present``, with their structures and rejects; returns their paths."""
        missing = sorted(self.files().keys() - set(present))
        if missing:
            with self.transaction() as connection:
                _forget(connection, missing)
        return missing

    def structure(self, structure_id: str) -> Structure:
        """The structure of this id.

        Raises
        ------
        CatalogueError
            If there is none.
        """
        return next(self.structures([structure_id]))

    def structures(self, ids: Sequence[str] | None = None) -> Iterator[Structure]:
        """Structures ordered by id: all of them, or those of the given ids.

        Raises
        ------
        CatalogueError
            If an id is unknown, or a structure no longer is what was stored.
        """
        operations = self._operations()
        for row in self._by_id(f"{SUMMARY_COLUMNS}, sites, symmetry", ids, _WITH_ATOMS):
            yield self._intact(_summary(row[:-2]), row[-2], operations[row[-1]])

    def summaries(self, ids: Sequence[str] | None = None) -> Iterator[Summary]:
        """Summaries ordered by id: all of them, or those of the given ids, which must be known."""
        for row in self._by_id(SUMMARY_COLUMNS, ids):
            yield _summary(row)

    def cell_contents(self, ids: Sequence[str] | None = None) -> Iterator[CellContent]:
        """What costs follow from, ordered by id: of all structures, or of those of the given ids."""
        operations = self._operations()
        for identity, volume, sites, atoms, symmetry in self._by_id("id, volume, n_sites, n_atoms, symmetry", ids):
            yield CellContent(identity, volume, sites, atoms, operations[symmetry])

    def keys(self) -> list[tuple[str, str]]:
        """Id and content hash of every structure, ordered by id."""
        return [(row[0], row[1]) for row in self.rows("SELECT id, content_hash FROM structures ORDER BY id")]

    def fingerprint(self) -> str:
        """Hash over all ids and contents: what is derived of the catalogue is out of date when it changes."""
        return content_fingerprint(self.keys())

    def state(self) -> CatalogueState:
        """What the catalogue holds, for ``diff_states``."""
        structures = dict(self.keys())
        refused = self.rows("SELECT id, min(reason) FROM rejects GROUP BY id ORDER BY id")
        return CatalogueState(structures, {row[0]: row[1] for row in refused if row[0] not in structures})

    def rejects(self) -> list[Reject]:
        """What was refused, ordered by id."""
        rows = self.rows("SELECT id, source, reason, detail FROM rejects ORDER BY id, source, reason")
        return [Reject(*row) for row in rows]

    def files(self) -> dict[str, FileRecord]:
        """The files that were taken in, by path."""
        rows = self.rows("SELECT path, sha256, size, mtime_ns, parser, outcome FROM files ORDER BY path")
        return {row[0]: FileRecord(*row) for row in rows}

    def counts(self) -> Counts:
        """How much there is."""
        structures, files = (next(self.rows(f"SELECT count(*) FROM {table}"))[0] for table in ("structures", "files"))
        by_reason = dict(self.rows("SELECT reason, count(*) FROM rejects GROUP BY reason ORDER BY reason"))
        return Counts(structures, sum(by_reason.values()), files, by_reason)

    def select(self, sql: str, limit: int) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Names of the columns and the first rows of a query in SQL, which cannot change anything.

        Raises
        ------
        ConfigError
            If it is no query that reads, or names what is not there.
        """
        self._connection.set_authorizer(_reading_only)
        try:
            cursor = self._connection.execute(sql)
            names = [column[0] for column in cursor.description or ()]
            return names, cursor.fetchmany(limit) if limit else cursor.fetchall()
        except sqlite3.DatabaseError as error:
            if "malformed" in str(error) or "not a database" in str(error):
                with translated_errors(self.path):
                    raise
            raise ConfigError(f"the query cannot be run: {error}; docs/catalogue.md lists the columns") from error
        finally:
            self._connection.set_authorizer(None)

    def number_of_structures(self) -> int:
        """How many structures there are."""
        return int(next(self.rows("SELECT count(*) FROM structures"))[0])

    def check_conditions(self, conditions: Mapping[str, str], tests: Mapping[str, Any]) -> None:
        """Prepare conditions on structures, by the name of their rule, and define the functions that they call.

        Raises
        ------
        ConfigError
            If one is no condition in SQL.
        """
        for name, test in tests.items():
            self._connection.create_function(name, 1, test, deterministic=True)
        for name, condition in conditions.items():
            try:
                self._connection.execute(f"EXPLAIN SELECT 1 FROM structures WHERE {condition}").close()
            except (sqlite3.Error, sqlite3.Warning) as error:
                raise ConfigError(
                    f"select.{name}: {error}; write a condition on the columns of structures, "
                    "such as density < 5 AND year > 1990"
                ) from error

    def _operations(self) -> dict[int, tuple[str, ...]]:
        rows = self.rows("SELECT key, operations FROM symmetries")
        return {key: tuple(json.loads(text)) for key, text in rows}

    def _intact(self, summary: Summary, sites: str, operations: tuple[str, ...]) -> Structure:
        try:
            structure = restored(summary, sites, operations)
        except (ValueError, TypeError) as error:
            raise self._damaged(summary.id, f"{type(error).__name__}: {error}") from error
        if structure.content_hash != summary.content_hash:
            raise self._damaged(summary.id, "its content no longer has the hash it was stored with")
        return structure

    def _damaged(self, structure_id: str, found: str) -> CatalogueError:
        return CatalogueError(f"catalogue {self.path}: structure {structure_id!r} is damaged ({found}); {REBUILD}")

    def _by_id(self, columns: str, ids: Sequence[str] | None, table: str = "structures") -> Iterator[tuple[Any, ...]]:
        if ids is None:
            yield from self.rows(f"SELECT {columns} FROM {table} ORDER BY id")
            return
        # SQLite compares UTF-8 bytes and Python code points, which is the same order.
        ordered = sorted(set(ids))
        for start in range(0, len(ordered), _CHUNK):
            chunk = ordered[start : start + _CHUNK]
            marks = ", ".join("?" * len(chunk))
            rows = list(self.rows(f"SELECT {columns} FROM {table} WHERE id IN ({marks}) ORDER BY id", chunk))
            if len(rows) < len(chunk):
                unknown = sorted({*chunk} - {row[0] for row in rows})
                raise CatalogueError(
                    f"catalogue {self.path} has no structure {unknown[0]!r}"
                    + (f" and {len(unknown) - 1} others" if len(unknown) > 1 else "")
                    + "; run the ingest stage again, or correct the id"
                )
            yield from rows

    def rows(self, query: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Rows of a query; see docs/catalogue.md for the tables."""
        with translated_errors(self.path):
            yield from self._connection.execute(query, values)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All changes that are made in the block, or none; one writer at a time."""
        if self.read_only:
            raise CatalogueError(f"catalogue {self.path} was opened for reading only")
        with translated_errors(self.path), transaction(self._connection):
            yield self._connection


_READING = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})


def _reading_only(action: int, *_: str | None) -> int:
    return sqlite3.SQLITE_OK if action in _READING else sqlite3.SQLITE_DENY


def _insert(connection: sqlite3.Connection, entry: StoredStructure, path: str) -> list[Reject]:
    """Store a structure; returns the reject of it, or of the one that had its id, where there is one."""
    identity = entry.summary.id
    owner = connection.execute("SELECT file FROM structures WHERE id = ?", (identity,)).fetchone()
    refused: list[Reject] = []
    if owner:
        winner, loser = sorted((owner[0], path))
        detail = f"{winner} gives a structure of the same id; rename or remove one of the two"
        refused.append(Reject(identity, loser, "duplicate_id", detail))
        _insert_reject(connection, refused[0], loser)
        # Without a known hash it is read again next time, when the other may be gone.
        connection.execute("UPDATE files SET sha256 = '', mtime_ns = -1 WHERE path = ?", (loser,))
        if winner != path:
            return refused
        connection.execute("DELETE FROM structures WHERE id = ?", (identity,))
    summary = replace(entry.summary, file=path)
    symmetry = _symmetry(connection, entry.operations)
    row = [_column(value) for value in values_of(summary)]
    key = connection.execute(_INSERT, (*row, symmetry)).lastrowid
    connection.execute("INSERT INTO atoms VALUES (?, ?)", (key, entry.sites))
    pairs = [(element, key) for element in summary.elements]
    connection.executemany("INSERT INTO structure_elements VALUES (?, ?)", pairs)
    return refused


def _symmetry(connection: sqlite3.Connection, operations: str) -> int:
    found = connection.execute("SELECT key FROM symmetries WHERE operations = ?", (operations,)).fetchone()
    if found is None:
        connection.execute("INSERT INTO symmetries (operations) VALUES (?)", (operations,))
        return _symmetry(connection, operations)
    return int(found[0])


def _column(value: Any) -> Any:
    """A value as SQLite holds it: words of a list apart from each other, sentences as JSON."""
    if not isinstance(value, tuple):
        return value
    plain = all(text.isidentifier() for text in value)
    return " ".join(value) if plain else json.dumps(value, ensure_ascii=False)


def _insert_reject(connection: sqlite3.Connection, reject: Reject, path: str) -> None:
    row = (reject.id, reject.source, reject.reason, reject.detail, path)
    connection.execute("INSERT INTO rejects (id, source, reason, detail, file) VALUES (?, ?, ?, ?, ?)", row)


def _forget(connection: sqlite3.Connection, paths: Sequence[str]) -> None:
    for table, column in (("structures", "file"), ("rejects", "file"), ("files", "path")):
        connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(path,) for path in paths])


def _file_row(record: FileRecord) -> tuple[str | int, ...]:
    return (record.path, record.sha256, record.size, record.mtime_ns, record.parser, record.outcome)


def _summary(row: Sequence[Any]) -> Summary:
    values = list(row)
    for place in _LISTS:
        text = values[place]
        values[place] = tuple(json.loads(text) if text[:1] == "[" else text.split())
    return Summary(*values)
