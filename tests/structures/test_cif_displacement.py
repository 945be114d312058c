"""Displacement parameters in every convention, against gemmi and closed forms."""

import math

import gemmi
import numpy as np
import pytest

from hpc_mlsm.structures.cif_displacement import equivalent_isotropic, read_displacements
from hpc_mlsm.structures.cif_text import read_blocks
from hpc_mlsm.structures.structure import Cell

TRICLINIC = Cell(7.1, 8.3, 9.7, 82.0, 95.0, 101.0)
U = np.array([0.012, 0.015, 0.021, 0.003, 0.002, -0.001])


def read(
    text: str, labels: list[str], cell: Cell = TRICLINIC
) -> tuple[list[float | None], list[tuple[float, ...] | None], list[tuple[str, str]]]:
    notes: list[tuple[str, str]] = []
    u_iso, u_aniso = read_displacements(read_blocks(f"data_x\n{text}\n")[0], cell, labels, lambda *n: notes.append(n))
    return u_iso, list(u_aniso), notes


def tensors(prefix: str, rows: dict[str, np.ndarray]) -> str:
    tags = "".join(f"_atom_site_aniso_{prefix}{ij}\n" for ij in ("11", "22", "33", "12", "13", "23"))
    lines = [f"{label} " + " ".join(f"{v:.10g}" for v in row) for label, row in rows.items()]
    return f"loop_\n_atom_site_aniso_label\n{tags}" + "\n".join(lines)


def isotropic(tag: str, *values: str) -> str:
    return f"loop_\n_atom_site_{tag}_iso_or_equiv\n" + "\n".join(values)


def test_the_equivalent_isotropic_value_is_a_third_of_the_cartesian_trace() -> None:
    """Independent route: gemmi's orthogonalisation turns U* = N U N into Cartesian axes."""
    other = gemmi.UnitCell(*TRICLINIC.parameters)
    stars = np.diag(other.reciprocal().parameters[:3])
    full = np.array([[U[0], U[3], U[4]], [U[3], U[1], U[5]], [U[4], U[5], U[2]]])
    to_cartesian = np.array(other.orth.mat.tolist()) @ stars
    expected = np.trace(to_cartesian @ full @ to_cartesian.T) / 3
    assert equivalent_isotropic(U, TRICLINIC) == pytest.approx(expected, rel=1e-9)


def test_an_isotropic_tensor_in_hexagonal_axes_has_half_off_diagonal() -> None:
    """u·(1, 1, 1, ½, 0, 0) is isotropic there; (1, 1, 1, 0, 0, 0) is not, and its mean is larger."""
    cell = Cell(3.2, 3.2, 5.2, 90.0, 90.0, 120.0)
    assert equivalent_isotropic(0.01 * np.array([1, 1, 1, 0.5, 0, 0]), cell) == pytest.approx(0.01, rel=1e-12)
    assert equivalent_isotropic(0.01 * np.array([1, 1, 1, 0, 0, 0]), cell) == pytest.approx(0.01 * 11 / 9, rel=1e-12)


def test_b_and_beta_give_the_same_tensor_as_u() -> None:
    stars = gemmi.UnitCell(*TRICLINIC.parameters).reciprocal().parameters[:3]
    pairs = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]
    beta = np.array([2 * math.pi**2 * stars[i] * stars[j] for i, j in pairs]) * U
    for prefix, values in (("U_", U), ("B_", 8 * math.pi**2 * U), ("beta_", beta)):
        u_iso, u_aniso, notes = read(tensors(prefix, {"O1": values}), ["O1"])
        assert u_aniso[0] == pytest.approx(tuple(U), rel=1e-6)
        assert u_iso[0] == pytest.approx(float(equivalent_isotropic(U, TRICLINIC)), rel=1e-6)
        assert notes == []


def test_isotropic_b_becomes_u_and_stated_values_win_over_tensors() -> None:
    assert read(isotropic("B", "0.79(2)", "?"), ["Fe", "O"])[0] == [pytest.approx(0.79 / (8 * math.pi**2)), None]
    u_iso, u_aniso, _ = read(isotropic("U", "0.017") + "\n" + tensors("U_", {"Fe": U}), ["Fe"])
    assert u_iso == [0.017]
    assert u_aniso == [pytest.approx(tuple(U))]
    both = "loop_\n_atom_site_U_iso_or_equiv\n_atom_site_B_iso_or_equiv\n0.01 9\n? 0.79"
    assert read(both, ["Fe", "O"])[0] == [0.01, pytest.approx(0.79 / (8 * math.pi**2))]


def test_values_without_physical_meaning_are_dropped_and_noted() -> None:
    u_iso, _, notes = read(isotropic("U", "0.01", "-0.02", "0", "1.4", "0.02"), ["A", "B", "C", "D", "E"])
    assert u_iso == [0.01, None, None, None, 0.02]
    assert [label for _, label in notes] == ["B", "C", "D"]
    negative = np.array([0.01, 0.01, 0.01, 0.03, 0.0, 0.0])
    u_iso, u_aniso, notes = read(tensors("U_", {"O": negative, "Fe": np.zeros(6)}), ["O", "Fe"])
    assert (u_iso, u_aniso) == ([None, None], [None, None])
    assert [label for _, label in notes] == ["O", "Fe"]


def test_a_column_of_b_under_the_name_of_u_is_recognised() -> None:
    """As in COD 1520870: Pb(Zr,Ti)O3 with 0.53, 0.24, 0.24, 1.44, 1.44 under _atom_site_U_iso_or_equiv."""
    u_iso, _, notes = read(isotropic("U", "0.53(2)", "0.24", "0.24", "1.44", "1.44"), ["Pb", "Ti", "Zr", "O1", "O2"])
    assert u_iso[0] == pytest.approx(0.53 / (8 * math.pi**2))
    assert u_iso[4] == pytest.approx(1.44 / (8 * math.pi**2))
    assert len(notes) == 1


def test_tensors_are_matched_by_label() -> None:
    _, u_aniso, _ = read(tensors("U_", {"O2": U, "O1": 2 * U}), ["O1", "Fe", "O2"])
    assert u_aniso == [pytest.approx(tuple(2 * U)), None, pytest.approx(tuple(U))]


def test_repeated_labels_are_matched_in_order_and_a_lone_tensor_serves_all() -> None:
    two = tensors("U_", {"O": U}) + "\n" + tensors("U_", {"O": 2 * U}).splitlines()[-1]
    assert read(two, ["O", "O", "O"])[1] == [pytest.approx(tuple(U)), pytest.approx(tuple(2 * U)), None]
    assert read(tensors("U_", {"O": U}), ["O", "O"])[1] == [pytest.approx(tuple(U))] * 2


def test_tensors_in_the_atom_loop_need_no_labels_and_ragged_ones_are_ignored() -> None:
    tags = "".join(f"_atom_site_aniso_U_{ij}\n" for ij in ("11", "22", "33", "12", "13", "23"))
    row = " ".join(str(v) for v in U)
    assert read(f"loop_\n{tags}{row}", ["O"])[1] == [pytest.approx(tuple(U))]
    assert read(f"loop_\n{tags}{row}", ["O", "Fe"])[1] == [None, None]
    assert read(f"loop_\n_atom_site_aniso_label\n_atom_site_aniso_U_11\nO {U[0]}", ["O"])[1] == [None]
    assert read(f"loop_\n{tags}{row.replace('0.012', '?')}", ["O"])[1] == [None]
