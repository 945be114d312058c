"""Selecting structures by elements, space group and size."""

from dataclasses import replace
from pathlib import Path

import gemmi
import pytest

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.catalog.rows import FileRecord, FileResult, stored
from hpc_mlsm.catalog.select import select_keys
from hpc_mlsm.catalog.selection import Selection
from hpc_mlsm.errors import CatalogueError, ConfigError
from hpc_mlsm.structures.structure import Cell, Provenance, Site, Structure
from hpc_mlsm.structures.symmetry import operations_of


def crystal(identity: str, symbol: str, *elements: str) -> Structure:
    group = gemmi.find_spacegroup_by_name(symbol)
    sites = tuple(Site(e, e, 0.5 * i, 0.5 * i, 0.5 * i) for i, e in enumerate(elements))
    cell = Cell(4.2, 4.2, 4.2, 90.0, 90.0, 90.0)
    return Structure(identity, "", cell, group.number, symbol, operations_of(group), sites)


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    structures = [
        crystal("MgO", "F m -3 m", "Mg", "O"),
        crystal("NiO", "F m -3 m", "Ni", "O"),
        crystal("CsCl", "P m -3 m", "Cs", "Cl"),
        crystal("Fe", "I m -3 m", "Fe"),
    ]
    catalogue = Catalogue(tmp_path / "c.sqlite")
    catalogue.add([FileResult(FileRecord("f", "0", 1, 1, 1, ""), tuple(stored(s) for s in structures))])
    return catalogue


@pytest.mark.parametrize(
    ("selection", "ids"),
    [
        (Selection(), ("CsCl", "Fe", "MgO", "NiO")),
        (Selection(required=frozenset({"O"})), ("MgO", "NiO")),
        (Selection(allowed=frozenset({"Mg", "O", "Fe"})), ("Fe", "MgO")),
        (Selection(excluded=frozenset({"O"})), ("CsCl", "Fe")),
        (Selection(space_groups=frozenset({221, 229})), ("CsCl", "Fe")),
        (Selection(max_atoms=2), ("CsCl", "Fe")),
        (Selection(required=frozenset({"O"}), excluded=frozenset({"Ni"}), max_atoms=8), ("MgO",)),
    ],
)
def test_each_rule_keeps_what_it_says(catalogue: Catalogue, selection: Selection, ids: tuple[str, ...]) -> None:
    with catalogue:
        assert select_keys(catalogue, selection).ids == ids


def test_what_each_rule_left_is_counted(catalogue: Catalogue) -> None:
    with catalogue:
        found = select_keys(catalogue, Selection(required=frozenset({"O"}), excluded=frozenset({"Ni"})))
    assert found.left_after == {"catalogue": 4, "required": 2, "excluded": 1}


def test_the_rule_that_leaves_nothing_is_named(catalogue: Catalogue) -> None:
    with catalogue:
        with pytest.raises(CatalogueError, match=r"select\.required = He leaves none of 4 structures"):
            select_keys(catalogue, Selection(required=frozenset({"He"})))
        with pytest.raises(CatalogueError, match=r"select\.max_atoms = 1 leaves none of 2"):
            select_keys(catalogue, Selection(required=frozenset({"O"}), max_atoms=1))


def test_an_empty_catalogue_is_named(tmp_path: Path) -> None:
    with Catalogue(tmp_path / "c.sqlite") as catalogue, pytest.raises(CatalogueError, match="holds no structures"):
        select_keys(catalogue, Selection())


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"required": frozenset({"fe"})}, "required: 'fe' is no element"),
        ({"excluded": frozenset({"Xx"})}, "excluded: 'Xx'"),
        ({"space_groups": frozenset({0, 225})}, "0 is no space group"),
        ({"max_atoms": 0}, "expected at least 1"),
        ({"required": frozenset({"O"}), "excluded": frozenset({"O"})}, "O is required and excluded"),
        ({"required": frozenset({"O"}), "allowed": frozenset({"Fe"})}, "O is required but not among the allowed"),
    ],
)
def test_rules_that_make_no_sense_are_refused(rules: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Selection(**rules)  # type: ignore[arg-type]


def test_rules_on_groups_sizes_years_flags_and_sql(tmp_path: Path) -> None:
    base = crystal("x", "F m -3 m", "Fe", "O")
    structures = [
        replace(base, id="old", provenance=Provenance(year=1950)),
        replace(base, id="new", provenance=Provenance(year=2020, temperature=100.0)),
        replace(base, id="bad", provenance=Provenance(flags=("disordered", "retracted"))),
        crystal("sulfide", "F m -3 m", "Pb", "S"),
        crystal("salt", "F m -3 m", "Na", "Cl"),
    ]
    with Catalogue(tmp_path / "c.sqlite") as catalogue:
        catalogue.add([FileResult(FileRecord("f", "0", 1, 1, 1, ""), tuple(stored(s) for s in structures))])

        def ids(**rules: object) -> set[str]:
            return set(select_keys(catalogue, Selection(**rules)).ids)  # type: ignore[arg-type]

        metals = frozenset({"transition_metals", "post_transition_metals"})
        assert ids(one_of=(metals, frozenset({"O", "S"}))) == {"old", "new", "bad", "sulfide"}
        assert ids(allowed=frozenset({"alkali_metals", "halogens"})) == {"salt"}
        assert ids(min_year=2000) == {"new", "bad", "sulfide", "salt"}
        assert ids(max_year=1999, required=frozenset({"Fe"})) == {"old", "bad"}
        assert ids(without=frozenset({"retracted"})) == {"old", "new", "sulfide", "salt"}
        assert ids(sql="temperature < 200 OR formula = 'NaCl'") == {"new", "salt"}
        assert ids(min_volume=1.0, max_volume=1e4, min_atoms=2) == {"old", "new", "bad", "sulfide", "salt"}
        with pytest.raises(ConfigError, match=r"select\.sql: no such column: colour"):
            ids(sql="colour = 'red'")
        with pytest.raises(ConfigError, match=r"select\.sql"):
            ids(sql="1); DROP TABLE structures; --")
        assert catalogue.number_of_structures() == 5


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"one_of": (frozenset({"metals"}),)}, "'metals' is no element"),
        ({"one_of": (frozenset(),)}, "a list is empty"),
        ({"without": frozenset({"ugly"})}, "ugly is not known; there are disordered"),
        ({"min_year": 2000, "max_year": 1990}, "min_year = 2000 is above max_year = 1990"),
    ],
)
def test_further_rules_that_make_no_sense_are_refused(rules: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Selection(**rules)  # type: ignore[arg-type]
