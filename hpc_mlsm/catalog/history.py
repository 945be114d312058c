"""Revisions of a catalogue: after each ingest that changed anything, what changed, so that any earlier state is known.

A row of the table ``history`` says what an id became in a revision: a content hash, a reason of refusal, or neither,
which is the tombstone of an entry that was withdrawn. Revisions are made of what the catalogue holds when one is
closed, so that an ingest that was killed and run again makes one revision, not two.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.catalog.diff import CatalogueState
from hpc_mlsm.errors import CatalogueError


@dataclass(frozen=True)
class Revision:
    """A state that the catalogue was in: its number, when and from what it was made, and what it held."""

    number: int
    made: str
    source: str
    structures: int
    rejects: int
    fingerprint: str


def revisions(catalogue: Catalogue) -> list[Revision]:
    """All revisions, oldest first."""
    rows = catalogue.rows(
        "SELECT number, made, source, structures, rejects, fingerprint FROM revisions ORDER BY number"
    )
    return [Revision(*row) for row in rows]


def state_at(catalogue: Catalogue, number: int) -> CatalogueState:
    """What the catalogue held in a revision; revision 0 is the empty catalogue.

    Raises
    ------
    CatalogueError
        If there is no such revision.
    """
    last = next(catalogue.rows("SELECT coalesce(max(number), 0) FROM revisions"))[0]
    if not 0 <= number <= last:
        raise CatalogueError(f"catalogue {catalogue.path} has no revision {number}; there are 1 to {last}")
    structures, rejects = {}, {}
    for identity, content, reason, _ in catalogue.rows(
        "SELECT id, content_hash, reason, max(number) FROM history WHERE number <= ? GROUP BY id", (number,)
    ):
        if content is not None:
            structures[identity] = content
        elif reason is not None:
            rejects[identity] = reason
    return CatalogueState(structures, rejects)


def close_revision(catalogue: Catalogue, source: str) -> Revision:
    """Record what the catalogue holds as a revision; the last one where nothing has changed since.

    Parameters
    ----------
    catalogue : Catalogue
        Open for writing.
    source : str
        What the catalogue was made from, in words, such as the revision of a mirror.
    """
    known = revisions(catalogue)
    number = known[-1].number if known else 0
    before, after = state_at(catalogue, number), catalogue.state()
    old, new = _values(before), _values(after)
    changed = {identity: value for identity, value in new.items() if old.get(identity) != value}
    changed |= dict.fromkeys(old.keys() - new.keys(), (None, None))
    if known and not changed:
        return known[-1]
    made = datetime.now(UTC).isoformat(timespec="seconds")
    counts = len(after.structures), len(after.rejects)
    revision = Revision(number + 1, made, source, *counts, catalogue.fingerprint())
    with catalogue.transaction() as connection:
        rows = [(identity, revision.number, *value) for identity, value in sorted(changed.items())]
        connection.executemany("INSERT INTO history VALUES (?, ?, ?, ?)", rows)
        values = (revision.number, made, source, *counts, revision.fingerprint)
        connection.execute("INSERT INTO revisions VALUES (?, ?, ?, ?, ?, ?)", values)
    return revision


def _values(state: CatalogueState) -> dict[str, tuple[str | None, str | None]]:
    found: dict[str, tuple[str | None, str | None]] = {key: (None, reason) for key, reason in state.rejects.items()}
    return found | {key: (content, None) for key, content in state.structures.items()}
