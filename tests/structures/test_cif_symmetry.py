"""Which symmetry a CIF is taken to state, and in which setting."""

import gemmi
import pytest
import spglib

from hpc_mlsm.errors import StructureError
from hpc_mlsm.structures.cif import parse_cif
from hpc_mlsm.structures.cif_symmetry import group_of, named_settings, other_settings, stated_operations
from hpc_mlsm.structures.cif_text import CifBlock, read_blocks
from hpc_mlsm.structures.structure import Structure


def block(*lines: str, operations: tuple[str, ...] = ()) -> CifBlock:
    loop = ["loop_", "_space_group_symop_operation_xyz", *(f"'{text}'" for text in operations)] if operations else []
    return read_blocks("\n".join(["data_x", *lines, *loop, ""]))[0]


def symbols(*lines: str) -> list[str]:
    return [setting.symbol for setting in named_settings(block(*lines))]


def test_every_tabulated_setting_is_recognised_by_its_operations() -> None:
    for group in gemmi.spacegroup_table():
        operations = tuple(op.triplet() for op in group.operations())
        found = group_of(operations)
        assert (found.number, found.notes) == (group.number, ())
        assert set(found.operations) == set(operations)
        # Two symbols may mean the same operations: C c c a and C c c b.
        assert gemmi.find_spacegroup_by_name(found.symbol).operations() == group.operations()
        assert found.operations[0] == "x,y,z"


def test_generators_are_completed_to_the_group() -> None:
    found = group_of(("x,y,z", "-x,y+1/2,-z+1/2", "-x,-y,-z"))
    assert (found.symbol, len(found.operations)) == ("P 1 21/c 1", 4)
    assert "3 operations are listed" in found.notes[0]
    assert group_of(("-X, -Y, -Z",)).operations == ("x,y,z", "-x,-y,-z")
    assert group_of(("1 x,y,z", "2 0.5+x, .5+y, z", "3 -x,y,-z")).symbol == "C 1 2 1"


def test_a_shifted_origin_is_named_by_its_operations() -> None:
    """GeO2 in P3221 with the twofold axes of the quartz literature (COD 9007477)."""
    found = group_of(("x,y,z", "y,x,2/3-z", "-y,x-y,2/3+z", "-x,-x+y,1/3-z", "-x+y,-x,1/3+z", "x-y,-y,-z"))
    assert (found.number, found.symbol, len(found.operations)) == (154, "P 32 2 1", 6)
    assert "no symbol of its own" in found.notes[0]


@pytest.mark.parametrize(
    "triplets",
    [
        ("x,y",),
        ("x,y,z", "x+1/5,y,z"),
        ("x,y,z", "x,x,x"),
        ("x,y,z", "x+y,y,z"),
        ("x,y,z", "-x+1/3,y+1/24,-z+1/8", "y,z,x", "-y,x,z+1/4"),
        ("é,y,z",),
    ],
)
def test_operations_that_make_no_group_are_refused(triplets: tuple[str, ...]) -> None:
    with pytest.raises(StructureError) as caught:
        group_of(triplets)
    assert caught.value.reason == "bad_symmetry"


def test_operations_that_spglib_cannot_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise spglib.SpglibError("no")

    monkeypatch.setattr(spglib, "get_spacegroup_type_from_symmetry", refuse)
    with pytest.raises(StructureError) as caught:
        group_of(("x,y,z", "-x+1/8,-y,-z", "x+1/24,y,z"))
    assert caught.value.reason == "bad_symmetry"


def test_an_absurd_number_of_operations_is_refused_at_once() -> None:
    with pytest.raises(StructureError) as caught:
        stated_operations(block(operations=("x,y,z",) * 1000))
    assert caught.value.reason == "bad_symmetry"


def test_operations_win_over_names_and_say_so() -> None:
    found = stated_operations(block("_space_group_name_H-M_alt 'P m m m'", operations=("x,y,z", "-x,-y,-z")))
    assert found is not None
    assert (found.number, found.symbol) == (2, "P -1")
    assert "P m m m" in found.notes[0]
    agreeing = stated_operations(block("_space_group_IT_number 2", operations=("x,y,z", "-x,-y,-z")))
    assert agreeing is not None
    assert agreeing.notes == ()
    assert stated_operations(block("_space_group_IT_number 2")) is None
    assert stated_operations(block(operations=("?",))) is None


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("_space_group_name_H-M_alt 'F d -3 m :1'", "F d -3 m:1"),
        ("_space_group_name_H-M_alt 'F d -3 m (origin choice 2)'", "F d -3 m:2"),
        ("_symmetry_space_group_name_H-M 'F d -3 m S'", "F d -3 m:1"),
        ("_symmetry_space_group_name_H-M 'I 41/a m d Z'", "I 41/a m d:2"),
        ("_symmetry_space_group_name_H-M I41/amdZ", "I 41/a m d:2"),
        ("_symmetry_space_group_name_H-M 'R -3 c H'", "R -3 c:H"),
        ("_symmetry_space_group_name_H-M 'P 21/n'", "P 1 21/n 1"),
        ("_symmetry_space_group_name_H-M 'P b n m'", "P b n m"),
        ("_symmetry_space_group_name_H-M 'F m 3 m'", "F m -3 m"),
        ("_symmetry_space_group_name_Hall '-F 4vw 2vw 3'", "F d -3 m:2"),
    ],
)
def test_a_stated_setting_comes_first(line: str, first: str) -> None:
    assert symbols(line)[0] == first


def test_a_bare_symbol_leaves_its_settings_open_and_the_hall_symbol_settles_them() -> None:
    bare = "_symmetry_space_group_name_H-M 'F d -3 m'"
    assert symbols(bare) == ["F d -3 m:2", "F d -3 m:1"]
    assert symbols(bare, "_symmetry_space_group_name_Hall 'F 4d 2 3 -1d'")[0] == "F d -3 m:1"
    assert symbols(bare, "_space_group.IT_coordinate_system_code '1'")[0] == "F d -3 m:1"
    assert symbols("_symmetry_space_group_name_H-M 'R -3 c'") == ["R -3 c:H", "R -3 c:R"]


def test_a_number_alone_means_the_standard_setting_and_is_noted() -> None:
    found = named_settings(block("_symmetry_Int_Tables_number 14"))
    assert [setting.symbol for setting in found] == ["P 1 21/c 1"]
    assert "only the space-group number 14" in found[0].notes[0]


@pytest.mark.parametrize(
    "line",
    [
        "_space_group_IT_number 0",
        "_space_group_IT_number 231",
        "_space_group_IT_number 2.5",
        "_space_group_name_Hall 'Q'",
    ],
)
def test_nonsense_names_allow_nothing(line: str) -> None:
    assert symbols(line) == []


def test_other_settings_share_the_symbol() -> None:
    found = named_settings(block("_space_group_name_H-M_alt 'P 4/n m m :2'"))[0]
    assert [setting.symbol for setting in other_settings(found)] == ["P 4/n m m:1"]
    assert other_settings(named_settings(block("_space_group_name_H-M_alt 'P n m a'"))[0]) == []


def crystal(symmetry: str, cell: str, atoms: str, formula: str = "?") -> Structure:
    keys = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    values = "".join(f"_cell_{key} {value}\n" for key, value in zip(keys, cell.split(), strict=True))
    loop = "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
    text = f"data_x\n_chemical_formula_sum '{formula}'\n{values}{symmetry}\n{loop}{atoms}\n"
    structures, rejects = parse_cif(text, "x", "x.cif")
    assert rejects == []
    return structures[0]


def test_the_cell_decides_between_hexagonal_and_rhombohedral_axes() -> None:
    """Calcite in both descriptions (Graf 1961): the same density, 2.711 g/cm³."""
    name = "_symmetry_space_group_name_H-M 'R -3 c'"
    hexagonal = crystal(name, "4.990 4.990 17.061 90 90 120", "Ca 0 0 0\nC 0 0 .25\nO .2578 0 .25")
    rhombohedral = crystal(
        name, "6.3757 6.3757 6.3757 46.075 46.075 46.075", "Ca 0 0 0\nC .25 .25 .25\nO .5078 -.0078 .25"
    )
    assert (hexagonal.space_group_symbol, len(hexagonal.unit_cell)) == ("R -3 c:H", 30)
    assert (rhombohedral.space_group_symbol, len(rhombohedral.unit_cell)) == ("R -3 c:R", 10)
    for calcite in (hexagonal, rhombohedral):
        assert calcite.formula == "CaCO3"
        assert calcite.density == pytest.approx(2.711, rel=0.005)


def test_operations_in_the_other_axes_are_replaced_where_the_name_allows_it() -> None:
    operations = "\n".join(op.triplet() for op in gemmi.find_spacegroup_by_name("R -3 m:H").operations())
    found = crystal(
        f"_symmetry_space_group_name_H-M 'R -3 m'\nloop_\n_symmetry_equiv_pos_as_xyz\n{operations}",
        "4.131 4.131 4.131 54.13 54.13 54.13",
        "As 0.2271 0.2271 0.2271",
    )
    assert found.space_group_symbol == "R -3 m:R"
    assert len(found.unit_cell) == 2
    assert "do not fit the cell" in found.notes[0]


@pytest.mark.parametrize(("x", "setting"), [(0.125, "F d -3 m:2"), (0.0, "F d -3 m:1")])
def test_of_two_unstated_origins_the_one_with_the_stated_composition_is_taken(x: float, setting: str) -> None:
    if x:
        atoms = "Zn .125 .125 .125\nAl .5 .5 .5\nO .2636 .2636 .2636"
    else:
        atoms = "Zn 0 0 0\nAl .625 .625 .625\nO .3886 .3886 .3886"
    found = crystal("_symmetry_space_group_name_H-M 'F d -3 m'", "8.086 8.086 8.086 90 90 90", atoms, "Al2 O4 Zn")
    assert (found.space_group_symbol, found.formula) == (setting, "ZnAl2O4")


def test_unusable_operations_give_way_to_the_symbol() -> None:
    lines = "_symmetry_space_group_name_H-M 'F m -3 m'\nloop_\n_symmetry_equiv_pos_as_xyz\nx,y,z\nx,x,x"
    found = crystal(lines, "4.211 4.211 4.211 90 90 90", "Mg 0 0 0\nO .5 .5 .5")
    assert found.space_group == 225
    assert "cannot be used" in found.notes[0]


def test_unusable_operations_without_a_symbol_are_refused() -> None:
    text = "data_x\n_cell_length_a 4\n_cell_length_b 4\n_cell_length_c 4\nloop_\n_symmetry_equiv_pos_as_xyz\nx,x,x\n"
    text += "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nFe 0 0 0\n"
    assert parse_cif(text, "x", "x.cif")[1][0].reason == "bad_symmetry"
