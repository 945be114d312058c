"""Entries of one structure are found in any setting, and nothing else is."""

from pathlib import Path

import gemmi
import pytest

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.catalog.duplicates import find_duplicates
from hpc_mlsm.catalog.rows import FileRecord, FileResult, stored
from hpc_mlsm.catalog.select import select_keys
from hpc_mlsm.catalog.selection import Selection
from hpc_mlsm.structures.structure import Cell, Provenance, Site, Structure
from hpc_mlsm.structures.symmetry import operations_of


def crystal(
    identity: str, symbol: str, cell: tuple[float, ...], r_factor: float | None = None, *flags: str, element: str = "Po"
) -> Structure:
    group = gemmi.SpaceGroup(symbol)
    site = Site(element, element, 0.0, 0.0, 0.0)
    return Structure(
        identity,
        "",
        Cell(*cell),
        group.number,
        group.xhm(),
        operations_of(group),
        (site,),
        r_factor=r_factor,
        provenance=Provenance(flags=flags),
    )


CUBE = (4.0, 4.0, 4.0, 90.0, 90.0, 90.0)


def catalogue_of(path: Path, *structures: Structure) -> Catalogue:
    catalogue = Catalogue(path / "c.sqlite")
    catalogue.add([FileResult(FileRecord("f", "00", 1, 1, 1, ""), tuple(stored(one) for one in structures))])
    return catalogue


def test_the_same_cell_within_tolerance_is_found_and_the_best_is_kept(tmp_path: Path) -> None:
    structures = [
        crystal("a", "F m -3 m", CUBE, 0.05),
        crystal("b", "F m -3 m", (4.02, 4.02, 4.02, 90.0, 90.0, 90.0), 0.03),
        crystal("c", "F m -3 m", CUBE, 0.01, "retracted"),
        crystal("far", "F m -3 m", (4.2, 4.2, 4.2, 90.0, 90.0, 90.0)),
        crystal("other element", "F m -3 m", CUBE, element="Fe"),
        crystal("other group", "P m -3 m", CUBE),
    ]
    with catalogue_of(tmp_path, *structures) as catalogue:
        (group,) = find_duplicates(catalogue)
        assert (group.kept, group.others, group.space_group) == ("b", ("a", "c"), 225)
        assert find_duplicates(catalogue, ["a", "far"]) == []
        assert select_keys(catalogue, Selection()).left_after == {"catalogue": 6}
        merged = select_keys(catalogue, Selection(duplicates="merge"))
        assert merged.ids == ("b", "far", "other element", "other group")
        assert merged.removed == {"duplicates": 2}


@pytest.mark.parametrize(
    ("symbol", "cell", "other", "same"),
    [
        (
            "R -3 m:H",
            (3.0, 3.0, 15.0, 90.0, 90.0, 120.0),
            "R -3 m:R",
            (5.291503,) * 3 + (32.9335,) * 3,
        ),
        ("C 1 2/m 1", (10.0, 3.0, 6.0, 90.0, 110.0, 90.0), "I 1 2/m 1", (6.0, 3.0, 9.7526, 90.0, 105.505, 90.0)),
        ("P 1 2/m 1", (5.0, 6.0, 7.0, 90.0, 100.0, 90.0), "P 1 1 2/m", (7.0, 5.0, 6.0, 90.0, 90.0, 100.0)),
    ],
)
def test_settings_do_not_hide_a_duplicate(
    tmp_path: Path, symbol: str, cell: tuple[float, ...], other: str, same: tuple[float, ...]
) -> None:
    with catalogue_of(tmp_path, crystal("a", symbol, cell), crystal("b", other, same)) as catalogue:
        assert [(group.kept, group.others) for group in find_duplicates(catalogue)] == [("a", ("b",))]


def test_many_entries_of_one_formula_are_compared_in_bounded_time(tmp_path: Path) -> None:
    """Counted, not timed: all alike, and all different."""
    alike = [crystal(f"a{n:03d}", "P 1", CUBE) for n in range(300)]
    growing = [crystal(f"b{n:03d}", "P -1", (3.0 * 1.02**n,) * 3 + (90.0, 90.0, 90.0)) for n in range(60)]
    with catalogue_of(tmp_path, *alike, *growing) as catalogue:
        (group,) = find_duplicates(catalogue)
    assert group.kept == "a000"
    assert len(group.others) == 299
