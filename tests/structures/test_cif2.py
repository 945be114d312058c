"""CIF 2 is read where it holds what CIF 1 can hold; what it has besides is passed over."""

import pytest

from hpc_mlsm.structures.cif import parse_cif
from hpc_mlsm.structures.cif2 import as_cif1
from hpc_mlsm.structures.cif_text import read_blocks

HEAD = "#\\#CIF_2.0\ndata_x\n"
CELL = "".join(
    f"_cell_length_{edge} 3.52\n_cell_angle_{angle} 90\n"
    for edge, angle in zip("abc", ("alpha", "beta", "gamma"), strict=True)
)
ATOMS = "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nNi1 0 0 0\n"
GROUP = "_symmetry_space_group_name_H-M 'F m -3 m'\n"


@pytest.mark.parametrize(
    "extra",
    [
        "",
        "_publ_section_title '''two\n'lines' \n; of text'''\n",
        '_publ_section_title """it\'s "one\nloop_ more"""\n',
        "_import.get [{'file':\"a.dic\" 'save':x} {'b':[1 2 3]}]\n",
        "_a.list [1 [2 'three]' 4] five]\n_b.table {'k' : ''' [ '''}\n",
        "_publ_section_title\n;a text field with [ brackets { and ''' quotes\n;\n_c 1\n_d [2]\n",
    ],
)
def test_a_structure_is_found_beside_what_only_cif_2_has(extra: str) -> None:
    structures, rejects = parse_cif(HEAD + extra + CELL + GROUP + ATOMS, "x", "x")
    assert not rejects
    assert [(one.formula, one.space_group) for one in structures] == [("Ni", 225)]


def test_strings_in_three_quotes_keep_their_text() -> None:
    (block,) = read_blocks(HEAD + "_title '''first\n;second'''\n")
    assert block.text("_title") == "first ;second"


def test_what_is_not_closed_is_still_refused() -> None:
    _, (reject,) = parse_cif(HEAD + "_list [1 2\n" + CELL + ATOMS, "x", "x")
    assert reject.reason in {"no_atoms", "cif_syntax"}
    _, (reject,) = parse_cif(HEAD + "_title '''open\n" + CELL + ATOMS, "x", "x")
    assert reject.reason == "cif_syntax"


def test_plain_cif_1_is_left_as_it_is() -> None:
    text = CELL + GROUP + ATOMS + "# it's a comment [\n_text\n;a 'b [c\n;\n"
    assert as_cif1(text).split() == text.split()
