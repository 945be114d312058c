"""Cells and sites as CIFs list them, with what is missing, odd or impossible."""

import pytest

from hpc_mlsm.errors import StructureError
from hpc_mlsm.structures.cif_sites import named_sites, read_cell, read_sites
from hpc_mlsm.structures.cif_text import CifBlock, read_blocks
from hpc_mlsm.structures.structure import Cell, Site

CELL = Cell(4.0, 4.0, 4.0, 90.0, 90.0, 90.0)


def block(text: str) -> CifBlock:
    return read_blocks(f"data_x\n{text}\n")[0]


def atoms(columns: str, *rows: str, before: str = "") -> CifBlock:
    tags = "".join(f"_atom_site_{column}\n" for column in columns.split())
    return block(f"{before}\nloop_\n{tags}" + "\n".join(rows))


def sites(columns: str, *rows: str, before: str = "") -> tuple[list[Site], list[str]]:
    return read_sites(atoms(columns, *rows, before=before), CELL)


def reason(columns: str, *rows: str, before: str = "") -> str:
    with pytest.raises(StructureError) as caught:
        sites(columns, *rows, before=before)
    return caught.value.reason


XYZ = "label fract_x fract_y fract_z"


def test_uncertainties_and_odd_numbers_are_read() -> None:
    found, notes = sites(XYZ, "Fe1 0.12345(6) .5 -1/3", "O1 '0.25' 1. 1e-1")
    assert [(s.element, s.x, s.y, s.z) for s in found] == [
        ("Fe", 0.12345, 0.5, pytest.approx(-1 / 3)),
        ("O", 0.25, 1.0, 0.1),
    ]
    assert notes == []


def test_type_symbols_come_before_labels() -> None:
    found, notes = sites("type_symbol " + XYZ, "Si4+ T1 0 0 0", "? O1 .5 0 0", "Q Al2 0 .5 0")
    assert [s.element for s in found] == ["Si", "O", "Al"]
    assert notes == ["Al2: type symbol 'Q' is no element, label used"]


def test_type_symbols_serve_as_labels_where_there_are_none() -> None:
    found, _ = sites("type_symbol fract_x fract_y fract_z", "Fe3+ 0 0 0")
    assert (found[0].label, found[0].element) == ("Fe3+", "Fe")


def test_the_formula_is_looked_for_in_several_places() -> None:
    row = "CO1 0 0 0"
    assert sites(XYZ, row, before="_chemical_formula_sum 'Co O'")[0][0].element == "Co"
    assert (
        sites(XYZ, row, before="_chemical_formula_sum ?\n_chemical_formula_moiety 'C O3 2-, Ca 2+'")[0][0].element
        == "C"
    )
    assert reason(XYZ, row) == "unknown_element"


def test_occupancies_are_believed_within_reason() -> None:
    rows = ("Fe1 0 0 0 0.5(1)", "Fe2 .5 0 0 ?", "Fe3 0 .5 0 1.02", "Fe4 0 0 .5 0")
    found, notes = sites(XYZ + " occupancy", *rows)
    assert [s.occupancy for s in found] == [0.5, 1.0, 1.0]
    assert notes == [
        "Fe2: occupancy given as '?', taken as 1",
        "Fe3: occupancy 1.02, taken as 1",
        "Fe4: occupancy 0, dropped",
    ]
    assert sites(XYZ, "Fe 0 0 0")[0][0].occupancy == 1.0


@pytest.mark.parametrize("occupancy", ["-0.1", "1.5", "100"])
def test_impossible_occupancies_are_refused(occupancy: str) -> None:
    assert reason(XYZ + " occupancy", f"Fe 0 0 0 {occupancy}") == "bad_occupancy"


def test_dummies_vacancies_and_atoms_without_coordinates_are_dropped() -> None:
    found, notes = sites(
        XYZ + " calc_flag", "Fe1 0 0 0 d", "Fe2 .5 .5 .5 dum", "Vac1 0 0 .5 d", "Fe3 ? . ? .", "Fe4 4000 0 0 d"
    )
    assert [s.label for s in found] == ["Fe1"]
    assert notes == [
        "Fe2, Vac1: no atoms but dummies or empty sites, dropped",
        "Fe3, Fe4: without usable coordinates, dropped",
    ]


def test_water_is_its_oxygen_and_is_noted() -> None:
    found, notes = sites(XYZ, "Wat1 0 0 0", "OW2 .5 0 0", "O1 0 .5 0")
    assert [s.element for s in found] == ["O", "O", "O"]
    assert notes == ["Wat1, OW2: water, treated as its oxygen"]


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        ("label fract_x fract_y", "Fe 0 0"),
        ("label Cartn_x Cartn_y Cartn_z", "Fe 0 0 0"),
        ("fract_x fract_y fract_z", "0 0 0"),
        (XYZ, "Fe ? ? ?"),
        (XYZ + " occupancy", "Fe 0 0 0 0"),
    ],
)
def test_without_a_usable_atom_there_is_no_structure(columns: str, row: str) -> None:
    assert reason(columns, row) == "no_atoms"


def test_a_single_atom_needs_no_loop() -> None:
    one = block("_atom_site_label Po\n_atom_site_fract_x 0\n_atom_site_fract_y 0\n_atom_site_fract_z 0")
    assert read_sites(one, CELL)[0] == [Site("Po", "Po", 0.0, 0.0, 0.0)]


def test_a_column_of_another_length_is_not_mixed_up() -> None:
    two = atoms(XYZ, "Fe1 0 0 0", "Fe2 .5 .5 .5", before="_atom_site_occupancy 0.5")
    assert [s.occupancy for s in read_sites(two, CELL)[0]] == [1.0, 1.0]


def cell(a: str, b: str, c: str, angles: str = "90 90 90") -> CifBlock:
    keys = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    values = (a, b, c, *angles.split())
    return block("\n".join(f"_cell_{key} {value}" for key, value in zip(keys, values, strict=True)))


def test_cells_are_read_and_missing_angles_are_right_angles() -> None:
    assert read_cell(cell("4.1(2)", "5", "6.", "90 97.3(1) 90")) == (Cell(4.1, 5.0, 6.0, 90.0, 97.3, 90.0), [])
    found, notes = read_cell(block("_cell_length_a 4\n_cell_length_b 5\n_cell_length_c 6"))
    assert found == Cell(4.0, 5.0, 6.0, 90.0, 90.0, 90.0)
    assert notes == ["cell angles are missing, 90° assumed"]


@pytest.mark.parametrize(
    ("lengths", "angles"),
    [
        (("0", "4", "4"), "90 90 90"),
        (("?", "4", "4"), "90 90 90"),
        (("1.2", "4", "4"), "90 90 90"),
        (("4", "4", "301"), "90 90 90"),
        (("4", "-4", "4"), "90 90 90"),
        (("4", "4", "4"), "90 0 90"),
        (("4", "4", "4"), "90 180 90"),
        (("4", "4", "4"), "120 120 121"),
        (("4", "4", "4"), "30 60 120"),
        (("2", "2", "2"), "10.5 10.5 10.5"),
    ],
)
def test_impossible_cells_are_refused(lengths: tuple[str, str, str], angles: str) -> None:
    with pytest.raises(StructureError) as caught:
        read_cell(cell(*lengths, angles=angles))
    assert caught.value.reason == "bad_cell"


def test_many_sites_are_not_all_named() -> None:
    assert named_sites(["O1", "O2"]) == "O1, O2"
    assert named_sites([f"O{i}" for i in range(20)]) == "O0, O1, O2, O3, O4, O5, … (20 sites)"
