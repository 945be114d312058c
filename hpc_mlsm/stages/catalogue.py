"""What is asked of a catalogue outside a run: which one is meant, differences, whether it is whole, and another one."""

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.catalog.diff import CatalogueDiff, CatalogueState, diff_states
from hpc_mlsm.catalog.history import close_revision, state_at
from hpc_mlsm.durable import write_error
from hpc_mlsm.errors import CatalogueError
from hpc_mlsm.stages import ingest
from hpc_mlsm.stages.context import RunContext
from hpc_mlsm.stages.run_directory import RunDirectory

_AT = re.compile(r"(?P<place>.+)@(?P<number>\d+)")


@dataclass(frozen=True)
class CheckSummary:
    """What a check of a catalogue found; ``problems`` is empty where it is whole."""

    structures: int
    rejects: int
    problems: tuple[str, ...]


def catalogue_path(target: Path) -> Path:
    """The catalogue of a run directory, or the file itself."""
    return RunDirectory(target).catalogue if target.is_dir() else target


def state_of(words: str) -> CatalogueState:
    """What a catalogue holds, or held in a revision: ``runs/pdf``, ``catalog.sqlite`` or ``runs/pdf@3``."""
    match = _AT.fullmatch(words)
    if match and not Path(words).exists():
        with Catalogue(catalogue_path(Path(match["place"])), read_only=True) as catalogue:
            return state_at(catalogue, int(match["number"]))
    with Catalogue(catalogue_path(Path(words)), read_only=True) as catalogue:
        return catalogue.state()


def diff(first: str, second: str) -> CatalogueDiff:
    """Differences between two catalogues or revisions."""
    return diff_states(state_of(first), state_of(second))


def query(path: Path, sql: str, limit: int) -> tuple[list[str], list[tuple[object, ...]]]:
    """Names of the columns and rows of a query, which cannot change anything.

    Raises
    ------
    ConfigError
        If it is no query that reads.
    CatalogueError
        If the catalogue cannot be read.
    """
    with Catalogue(path, read_only=True) as catalogue:
        return catalogue.select(sql, limit)


def check(path: Path) -> CheckSummary:
    """Look through all of a catalogue: SQLite's own checks, every structure against its hash, every table."""
    problems: list[str] = []
    try:
        with Catalogue(path, read_only=True) as catalogue:
            problems += [str(row[0]) for row in catalogue.rows("PRAGMA integrity_check(20)") if row[0] != "ok"]
            counts = catalogue.counts()
            whole = sum(1 for _ in catalogue.structures())
            if whole != counts.structures:
                problems.append(f"{counts.structures} structures are listed, {whole} have atoms")
            return CheckSummary(counts.structures, counts.rejects, tuple(problems))
    except CatalogueError as error:
        return CheckSummary(0, 0, (*problems, str(error)))


def backup(path: Path, target: Path) -> Path:
    """A copy of a catalogue that is whole even while another process writes to it.

    Raises
    ------
    CatalogueError
        If the catalogue cannot be read.
    StoreError
        If the copy cannot be written.
    """
    with Catalogue(path, read_only=True):
        pass  # refuses what is no catalogue
    part = target.with_name(f".{target.name}.part")
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as old, closing(sqlite3.connect(part)) as new:
            old.backup(new, pages=4096)
        part.rename(target)
    except (OSError, sqlite3.Error) as error:
        fault = error if isinstance(error, OSError) else OSError(str(error))
        raise write_error(target, fault, path.stat().st_size) from error
    finally:
        part.unlink(missing_ok=True)
    return target


def rebuild(context: RunContext) -> tuple[ingest.IngestSummary, Path | None]:
    """Make the catalogue of a run anew from its sources, parsing nothing whose result is still known.

    The old one is put aside under another name, which is returned; its revisions are taken over where they can still
    be read.
    """
    path = context.run.catalogue
    aside = None
    if path.exists():
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        aside = path.with_name(f"{path.stem}.{stamp}.bad{path.suffix}")
        path.replace(aside)
        for suffix in ("-wal", "-shm", "-journal"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    summary = ingest.run(context)
    if aside is not None and _history_moves(aside, path):
        context.note(ingest.STAGE, "the revisions of the old catalogue were taken over")
        with Catalogue(path) as catalogue:
            number = close_revision(catalogue, "rebuilt").number
        summary = replace(summary, revision=number)
    return summary, aside


def _history_moves(old: Path, new: Path) -> bool:
    """Put the history of an old catalogue before the first revision of a new one; False where it cannot be read."""
    try:
        with Catalogue(old, read_only=True) as catalogue:
            revisions = list(catalogue.rows("SELECT * FROM revisions ORDER BY number"))
            history = list(catalogue.rows("SELECT * FROM history"))
    except CatalogueError:
        return False
    with Catalogue(new) as catalogue, catalogue.transaction() as connection:
        connection.execute("DELETE FROM history")
        connection.execute("DELETE FROM revisions")
        connection.executemany("INSERT INTO revisions VALUES (?, ?, ?, ?, ?, ?)", revisions)
        connection.executemany("INSERT INTO history VALUES (?, ?, ?, ?)", history)
    return True
