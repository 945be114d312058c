"""The structure type: derived quantities against literature values, and what travels."""

import pickle
from dataclasses import replace

import gemmi
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_mlsm.structures.structure import Cell, Site, Structure, reduced_formula
from hpc_mlsm.structures.symmetry import operations_of


def cubic(symbol: str, a: float, *sites: Site) -> Structure:
    group = gemmi.find_spacegroup_by_name(symbol)
    cell = Cell(a, a, a, 90.0, 90.0, 90.0)
    return Structure("test", "", cell, group.number, group.xhm(), operations_of(group), sites)


NACL = cubic("F m -3 m", 5.6402, Site("Na", "Na", 0, 0, 0, u_iso=0.02), Site("Cl", "Cl", 0.5, 0.5, 0.5))


def test_density_and_formula_of_rock_salt() -> None:
    """2.163 g/cm³ follows from M = 58.443 g/mol, Z = 4; the CRC Handbook gives 2.17."""
    assert NACL.density == pytest.approx(4 * 58.443 / (5.6402e-8**3 * 6.02214076e23), rel=1e-4)
    assert NACL.density == pytest.approx(2.17, rel=0.005)
    assert NACL.formula == "NaCl"
    assert NACL.composition == {"Na": 4.0, "Cl": 4.0}
    assert NACL.elements == {"Na", "Cl"}
    assert NACL.crystal_system == "cubic"


def test_cell_volume_and_metric_of_a_triclinic_cell_agree_with_gemmi() -> None:
    cell = Cell(7.1, 8.3, 9.7, 82.0, 95.0, 101.0)
    other = gemmi.UnitCell(*cell.parameters)
    assert cell.volume == pytest.approx(other.volume, rel=1e-12)
    basis = np.array(other.orth.mat.tolist())
    np.testing.assert_allclose(cell.metric, basis.T @ basis, atol=1e-9)


def test_the_metric_can_be_changed_without_changing_the_cell() -> None:
    cell = Cell(4.0, 4.0, 4.0, 90.0, 90.0, 90.0)
    cell.metric[0, 0] = 0.0
    assert cell.metric[0, 0] == pytest.approx(16.0)


@pytest.mark.parametrize(
    ("composition", "formula"),
    [
        ({"O": 32.0, "Fe": 16.0, "Co": 8.0}, "CoFe2O4"),
        ({"O": 1.0, "H": 2.0, "C": 1.0}, "CH2O"),
        ({"Si": 8.0}, "Si"),
        ({"O": 3.0, "Pb": 1.0, "Ti": 0.9, "Zr": 0.1}, "Zr0.1Ti0.9PbO3"),
        ({"Mg": 6.4, "Al": 17.6, "O": 32.0}, "Mg0.8Al2.2O4"),
        ({"Fe": 3.8, "O": 4.0}, "Fe0.95O"),
        ({"Si": 0.7, "Ge": 0.2}, "SiGe0.29"),
        ({"Xe": 0.25}, "Xe"),
    ],
)
def test_reduced_formulae(composition: dict[str, float], formula: str) -> None:
    assert reduced_formula(composition) == formula


def test_the_content_hash_sees_what_patterns_depend_on_and_nothing_else() -> None:
    same = replace(NACL, id="a", name="halite", notes=("x",), source="y", operations=NACL.operations[::-1])
    assert same.content_hash == NACL.content_hash
    moved = replace(NACL, sites=(NACL.sites[0], replace(NACL.sites[1], x=0.501)))
    hotter = replace(NACL, sites=(replace(NACL.sites[0], u_iso=0.03), NACL.sites[1]))
    longer = replace(NACL, cell=replace(NACL.cell, c=5.65))
    assert len({s.content_hash for s in (NACL, moved, hotter, longer)}) == 4


def test_annotating_keeps_the_atoms_that_were_worked_out() -> None:
    atoms = NACL.unit_cell
    other = NACL.annotated("halite", ("checked",))
    assert other.unit_cell is atoms
    assert (other.name, other.notes) == ("halite", ("checked",))
    assert replace(other, name=NACL.name, notes=NACL.notes) == NACL


def test_structures_survive_pickling() -> None:
    assert pickle.loads(pickle.dumps(NACL)) == NACL


numbers = st.floats(min_value=-2.0, max_value=2.0, allow_nan=False)
sites = st.builds(
    Site,
    label=st.text(max_size=8),
    element=st.sampled_from(["H", "O", "Fe", "U"]),
    x=numbers,
    y=numbers,
    z=numbers,
    occupancy=st.floats(min_value=0.01, max_value=1.0),
    u_iso=st.none() | st.floats(min_value=1e-6, max_value=0.9),
    u_aniso=st.none() | st.tuples(*[numbers] * 6),
)


@given(st.lists(sites, min_size=1, max_size=5), st.text(max_size=20), st.none() | st.integers(1000000, 9999999))
def test_json_gives_back_an_equal_structure(asymmetric: list[Site], name: str, cod_id: int | None) -> None:
    structure = replace(NACL, sites=tuple(asymmetric), name=name, cod_id=cod_id, notes=(name, "ü"))
    assert Structure.from_json(structure.to_json()) == structure
