"""The published exclusions and data sets, with a count for each reason."""

from dataclasses import replace
from pathlib import Path

import pytest

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.catalog.rows import FileRecord, FileResult, stored
from hpc_mlsm.catalog.select import exclusions, select_keys
from hpc_mlsm.catalog.selection import DATA_SETS, Selection, data_set
from hpc_mlsm.errors import CatalogueError, ConfigError
from hpc_mlsm.structures.cif import parse_cif
from hpc_mlsm.structures.structure import Cell, Reject, Site, Structure

PAPER = Selection(min_axis=2.5, max_axis=40.0, max_r_factor=0.1)


def crystal(identity: str, axes: tuple[float, float, float], r_factor: float | None = None, *others: Site) -> Structure:
    cell = Cell(*axes, 90.0, 90.0, 90.0)
    sites = (Site("Fe", "Fe", 0.0, 0.0, 0.0), *others)
    return Structure(identity, "", cell, 16, "P 2 2 2", ("x,y,z",), sites, r_factor=r_factor)


METHANE = (Site("C", "C", 0.5, 0.5, 0.5), Site("H", "H", 0.5, 0.5, 0.61))


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    structures = [
        crystal("good", (4, 5, 6), 0.099),
        crystal("unstated", (4, 5, 6)),
        crystal("poor", (4, 5, 6), 0.101),
        crystal("long", (4, 5, 40.1)),
        crystal("edge", (2.5, 5, 40.0)),
        crystal("short", (2.4, 5, 6)),
        replace(crystal("organic", (10, 10, 10)), sites=METHANE),
        crystal("metal_organic", (10, 10, 10), None, *METHANE),
        replace(crystal("cubic", (4, 4, 4)), space_group=221),
    ]
    catalogue = Catalogue(tmp_path / "c.sqlite")
    rejects = tuple(Reject(f"r{n}", "f", "no_atoms", "none") for n in range(3))
    record = FileRecord("f", "0", 1, 1, 1, "")
    catalogue.add([FileResult(record, tuple(stored(s) for s in structures), rejects)])
    return catalogue


def test_the_published_exclusions_are_counted_by_reason(catalogue: Catalogue) -> None:
    with catalogue:
        found = select_keys(catalogue, PAPER)
        counts = exclusions(catalogue, found)
    assert found.ids == ("cubic", "edge", "good", "metal_organic", "organic", "unstated")
    assert counts == {"no_atoms": 3, "min_axis": 1, "max_axis": 1, "max_r_factor": 1}


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("full", ("cubic", "edge", "good", "metal_organic", "organic", "unstated")),
        ("organic", ("metal_organic", "organic")),
        ("inorganic", ("cubic", "edge", "good", "unstated")),
    ],
)
def test_the_three_data_sets_are_parts_of_the_catalogue(catalogue: Catalogue, name: str, ids: tuple[str, ...]) -> None:
    with catalogue:
        assert select_keys(catalogue, data_set(PAPER, name)).ids == ids


def test_crystal_systems_can_be_chosen(catalogue: Catalogue) -> None:
    with catalogue:
        assert select_keys(catalogue, Selection(systems=frozenset({"cubic"}))).ids == ("cubic",)
        with pytest.raises(CatalogueError, match=r"select\.systems = hexagonal leaves none of 9"):
            select_keys(catalogue, Selection(systems=frozenset({"hexagonal"})))


def test_r_factor_and_chemistry_survive_the_catalogue(catalogue: Catalogue) -> None:
    with catalogue:
        summaries = {summary.id: summary for summary in catalogue.summaries()}
        structures = {structure.id: structure for structure in catalogue.structures()}
    assert summaries["good"].r_factor == structures["good"].r_factor == 0.099
    assert summaries["unstated"].r_factor is None
    assert [summaries[key].chemistry for key in ("good", "organic", "metal_organic")] == [
        "inorganic", "organic", "metal_organic"
    ]  # fmt: skip
    assert summaries["cubic"].crystal_system == "cubic"
    assert summaries["good"].file == "f"


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("_refine_ls_R_factor_gt 0.0412(3)", 0.0412),
        ("_refine_ls_R_factor_all 4.12", 0.0412),
        ("_refine_ls_R_I_factor 0.03", 0.03),
        ("_refine_ls_R_factor_gt ?\n_refine_ls_R_factor_all 0.05", 0.05),
        ("_refine_ls_R_factor_gt 0.0", None),
        ("_refine_ls_R_factor_gt 412", None),
        ("", None),
    ],
)
def test_the_r_factor_of_a_cif_is_a_fraction(item: str, expected: float | None) -> None:
    lengths = "".join(f"_cell_length_{axis} 4\n" for axis in "abc")
    angles = "".join(f"_cell_angle_{axis} 90\n" for axis in ("alpha", "beta", "gamma"))
    atoms = "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nFe1 0 0 0\n"
    (structure,), _ = parse_cif(
        f"data_a\n{lengths}{angles}_symmetry_space_group_name_H-M 'P 1'\n{item}\n{atoms}", "a", ""
    )
    assert structure.r_factor == (None if expected is None else pytest.approx(expected))
    assert Structure.from_json(structure.to_json()) == structure


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"min_axis": 0.0}, "min_axis: found 0"),
        ({"min_axis": 50.0, "max_axis": 40.0}, "nothing could pass"),
        ({"max_r_factor": 10.0}, "a fraction such as 0.1 for 10 %"),
        ({"chemistry": frozenset({"organics"})}, "organics is not known; there are organic, inorganic, metal_organic"),
        ({"systems": frozenset({"rhombohedral"})}, "rhombohedral is not known"),
    ],
)
def test_rules_that_cannot_be_are_refused(rules: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Selection(**rules)  # type: ignore[arg-type]


def test_an_unknown_data_set_is_refused() -> None:
    with pytest.raises(ConfigError, match="metals is not known; there are full, organic, inorganic"):
        data_set(Selection(), "metals")
    assert set(DATA_SETS) == {"full", "organic", "inorganic"}
