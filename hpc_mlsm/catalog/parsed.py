"""What came of every content that was ever parsed, by its hash: no content is parsed twice, whatever it is called.

The file lies beside the catalogue. A catalogue that is lost is made again from it without parsing anything; the file
itself may be deleted at any time, and costs parsing where it is missed.
"""

import mmap
import sqlite3
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from hpc_mlsm.catalog.rows import FileResult, decoded, encoded, outcome_of, placed
from hpc_mlsm.catalog.sqlite_file import BUSY_TIMEOUT_S
from hpc_mlsm.durable import write_durably
from hpc_mlsm.store.journal import choose_journal, transaction

_DIGEST = 32
_TABLE = """
CREATE TABLE IF NOT EXISTS results (sha256 BLOB NOT NULL, parser INTEGER NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (sha256, parser)) WITHOUT ROWID
"""


def parsed_beside(catalogue: Path) -> Path:
    """The file of parsed contents that belongs to a catalogue."""
    return catalogue.with_name(f"{catalogue.stem}.parsed.sqlite")


class ParsedContents:
    """The parsed contents beside one catalogue, for the one process that writes to it.

    A file that is damaged is put aside with the suffix ``.bad``, and begun anew.
    """

    def __init__(self, catalogue: Path, parser: int) -> None:
        self.path, self.parser = parsed_beside(catalogue), parser
        try:
            self._connection = self._opened()
        except sqlite3.DatabaseError as error:
            if "malformed" not in str(error) and "not a database" not in str(error):
                raise
            self.path.replace(self.path.with_suffix(".sqlite.bad"))
            self._connection = self._opened()

    def _opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            choose_journal(connection, self.path.parent)
            connection.execute(_TABLE)
            connection.execute("SELECT sha256 FROM results LIMIT 1").fetchone()
        except sqlite3.DatabaseError:
            connection.close()
            raise
        return connection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def keep(self, results: Iterable[FileResult]) -> None:
        """Remember what came of files that were parsed."""
        rows = [
            (bytes.fromhex(result.record.sha256), self.parser, zlib.compress(encoded(placed(result, "", "")).encode()))
            for result in results
            if result.record.sha256 and not (result.unchanged or result.known)
        ]
        if rows:
            with transaction(self._connection):
                self._connection.executemany("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", rows)

    def recalled(self, result: FileResult) -> FileResult | None:
        """A result that is marked as known, with what came of its content; None where that is no longer known."""
        key = (bytes.fromhex(result.record.sha256), self.parser)
        row = self._connection.execute("SELECT content FROM results WHERE sha256 = ? AND parser = ?", key).fetchone()
        if row is None:
            return None
        structures, rejects = decoded(zlib.decompress(row[0]).decode())
        nameless = replace(result, record=replace(result.record, path=""), identity="", known=False)
        found = placed(replace(nameless, structures=structures, rejects=rejects), result.identity, result.record.path)
        outcome = outcome_of(len(structures), len(rejects))
        return replace(found, record=replace(found.record, outcome=outcome))

    def write_digests(self, path: Path) -> Path | None:
        """Write the hashes of all known contents for workers to look up; None where there are none."""
        query = "SELECT sha256 FROM results WHERE parser = ? ORDER BY sha256"
        digests = b"".join(row[0] for row in self._connection.execute(query, (self.parser,)))
        if not digests:
            return None
        write_durably(path, digests)
        return path


class KnownDigests:
    """Hashes in a file that ``write_digests`` wrote: sorted, of 32 bytes each, looked up without reading it whole."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __contains__(self, sha256: object) -> bool:
        wanted, low, high = bytes.fromhex(str(sha256)), 0, len(self._map) // _DIGEST
        while low < high:
            middle = (low + high) // 2
            found = self._map[middle * _DIGEST : (middle + 1) * _DIGEST]
            if found == wanted:
                return True
            low, high = (middle + 1, high) if found < wanted else (low, middle)
        return False
