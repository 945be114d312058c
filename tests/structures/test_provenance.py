"""What a CIF says of measurement and standing: kept where it can be true."""

import pytest

from hpc_mlsm.structures.cif import parse_cif
from hpc_mlsm.structures.structure import FLAGS, Provenance, Structure

HEAD = "#$Date: 2024-08-07 20:09:39 +0300 (Wed, 07 Aug 2024) $\n#$Revision: 294031 $\ndata_1\n"
CELL = "".join(f"_cell_length_{edge} 5.0\n" for edge in "abc") + "_space_group_IT_number 1\n"
LOOP = "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n_atom_site_occupancy\n"


def parsed(items: str = "", atoms: str = LOOP + "Fe1 0 0 0 1\n", head: str = HEAD) -> Structure:
    (structure,), rejects = parse_cif(head + CELL + items + atoms, "x", "x")
    assert not rejects
    return structure


def test_everything_that_is_stated_is_kept() -> None:
    items = "_journal_year 1999\n_diffrn_ambient_temperature 299(2)\n_diffrn_ambient_pressure 1.2e6\n"
    found = parsed(items + "_cell_formula_units_Z 2\n").provenance
    assert found == Provenance(1999, 299.0, 1.2e6, 2, 294031)
    assert Structure.from_json(parsed(items).to_json()) == parsed(items)


def test_nothing_is_made_up() -> None:
    assert parsed(head="data_1\n").provenance == Provenance()


@pytest.mark.parametrize(
    "item",
    [
        "_journal_year 99",
        "_diffrn_ambient_temperature -20",
        "_cell_formula_units_Z 1.5",
        "_journal_year ?",
        "_cell_formula_units_Z 0",
        "_diffrn_ambient_pressure -1",
    ],
)
def test_what_cannot_be_true_is_left_out(item: str) -> None:
    assert parsed(item + "\n", head="data_1\n").provenance == Provenance()


@pytest.mark.parametrize(
    ("flag", "items", "atoms"),
    [
        ("partial_occupancy", "", LOOP + "Fe1 0 0 0 0.5\n"),
        ("disordered", "", LOOP + "Fe1 0 0 0 0.5\nNi1 0 0 0 0.5\n"),
        (
            "disordered",
            "",
            LOOP + "_atom_site_disorder_group\nFe1 0 0 0 1 1\nNi1 0.5 0.5 0.5 1 .\n",
        ),
        ("no_hydrogens", "_chemical_formula_sum 'Fe H2'\n", LOOP + "Fe1 0 0 0 1\n"),
        ("duplicate", "_cod_duplicate_entry 1234567\n", LOOP + "Fe1 0 0 0 1\n"),
        ("retracted", "_cod_error_flag retracted\n", LOOP + "Fe1 0 0 0 1\n"),
        ("theoretical", "_cod_struct_determination_method theoretical\n", LOOP + "Fe1 0 0 0 1\n"),
    ],
)
def test_flags_say_what_is_wrong(flag: str, items: str, atoms: str) -> None:
    assert flag in parsed(items, atoms).provenance.flags
    assert flag not in parsed().provenance.flags
    assert flag in FLAGS
