"""Every state that a catalogue was in is known afterwards, tombstones too."""

from pathlib import Path

import pytest

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.catalog.diff import diff_states
from hpc_mlsm.catalog.history import close_revision, revisions, state_at
from hpc_mlsm.catalog.rows import FileRecord, FileResult, stored
from hpc_mlsm.errors import CatalogueError
from hpc_mlsm.structures.structure import Cell, Reject, Site, Structure


def crystal(identity: str, a: float) -> FileResult:
    structure = Structure(
        identity, "", Cell(a, a, a, 90.0, 90.0, 90.0), 221, "P m -3 m", ("x,y,z",), (Site("Po", "Po", 0.0, 0.0, 0.0),)
    )
    return FileResult(FileRecord(identity, "00", 1, 1, 1, ""), (stored(structure),))


def refused(identity: str) -> FileResult:
    reject = Reject(identity, identity, "bad_cell", "no cell")
    return FileResult(FileRecord(identity, "00", 1, 1, 1, ""), rejects=(reject,))


def test_earlier_states_are_those_that_were_there(tmp_path: Path) -> None:
    with Catalogue(tmp_path / "c.sqlite") as catalogue:
        states = [catalogue.state()]
        for results, gone in (
            ([crystal("a", 3.0), crystal("b", 3.0), crystal("c", 3.0), refused("d")], []),
            ([crystal("a", 3.1), refused("b"), crystal("d", 3.0)], ["c"]),
            ([crystal("c", 3.0), crystal("b", 3.0)], ["a"]),
        ):
            catalogue.add(results)
            catalogue.remove_missing(catalogue.files().keys() - set(gone))
            close_revision(catalogue, "folder")
            states.append(catalogue.state())
    with Catalogue(tmp_path / "c.sqlite", read_only=True) as catalogue:
        assert [state_at(catalogue, number) for number in range(4)] == states
        found = diff_states(state_at(catalogue, 1), state_at(catalogue, 2))
        assert (found.changed, found.withdrawn, found.accepted) == (("a",), ("c",), ("d",))
        assert found.rejected == (("b", "bad_cell"),)
        assert [(r.number, r.structures, r.rejects) for r in revisions(catalogue)] == [(1, 3, 1), (2, 2, 1), (3, 3, 0)]
        with pytest.raises(CatalogueError, match="no revision 4; there are 1 to 3"):
            state_at(catalogue, 4)


def test_nothing_new_is_no_revision(tmp_path: Path) -> None:
    with Catalogue(tmp_path / "c.sqlite") as catalogue:
        catalogue.add([crystal("a", 3.0)])
        first = close_revision(catalogue, "folder")
        catalogue.add([crystal("a", 3.0)])
        assert close_revision(catalogue, "elsewhere") == first
        assert len(revisions(catalogue)) == 1
