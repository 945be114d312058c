from collections import Counter

import numpy as np
import pytest
from pdf_brute_force import pair_distances
from scattering_crystals import (
    ALL_SYSTEMS,
    ALLOY,
    DIAMOND,
    IRON,
    NICKEL,
    RIGHT,
    ROCK_SALT,
    RUTILE,
    SPINEL,
    TRICLINIC,
    crystal,
    in_p1,
    random_triclinic,
    stretched,
)

from hpc_mlsm.errors import ConfigError, StructureError
from hpc_mlsm.scattering.pairs import PairList, pair_list, pair_lists
from hpc_mlsm.structures.structure import Structure
from hpc_mlsm.structures.symmetry import axis_classes


def _lengths(pairs: PairList, scales: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> np.ndarray:
    (step,) = pairs.steps(np.array([scales]))
    return np.sqrt(pairs.squares.astype(float) + step @ pairs.invariants)


def _cumulative(lengths: np.ndarray, weights: np.ndarray, at: np.ndarray) -> np.ndarray:
    return np.array([weights[lengths < r].sum() for r in at])


def _points_between(lengths: np.ndarray) -> np.ndarray:
    """Distances that are not within 0.5 mÅ of any pair's, so that rounding cannot carry a pair across."""
    ordered = np.unique(lengths)
    return (ordered[:-1] + np.diff(ordered) / 2)[np.diff(ordered) > 1e-3]


@pytest.mark.parametrize(
    ("structure", "numbers"),
    [(NICKEL, [12, 6, 24, 12]), (IRON, [8, 6, 12, 24]), (DIAMOND, [4, 12, 12, 6])],
    ids=lambda value: getattr(value, "id", ""),
)
def test_neighbours_of_elements_are_counted_shell_by_shell(structure: Structure, numbers: list[int]) -> None:
    pairs = pair_list(structure, 1.75 * structure.cell.a)
    order = np.argsort(pairs.squares)
    np.testing.assert_allclose(pairs.weights[order][:4], numbers, rtol=1e-6)


def test_neighbours_of_two_elements_are_weighted_by_their_electrons() -> None:
    # 6 unlike next neighbours and 12 like ones, of atoms with 11 and 17 electrons, 14 on average.
    pairs = pair_list(ROCK_SALT, 5.0)
    order = np.argsort(pairs.squares)
    expected = [6 * 11 * 17 / 14**2, 12 * (11**2 + 17**2) / 2 / 14**2]
    np.testing.assert_allclose(_cumulative(_lengths(pairs), pairs.weights, np.array([3.5, 4.5])), np.cumsum(expected))
    assert np.sqrt(pairs.squares[order[0]]) == pytest.approx(2.82)


@pytest.mark.parametrize("structure", [*ALL_SYSTEMS, SPINEL, ALLOY, random_triclinic(3)], ids=lambda s: s.id)
def test_weights_add_up_to_those_of_every_pair_tried(structure: Structure) -> None:
    r_cut = 9.0
    lengths, first, second = pair_distances(structure, np.ones(3), r_cut)
    atoms = structure.unit_cell
    f = atoms.occupancy * atoms.numbers
    weights = f[first] * f[second] * atoms.occupancy.sum() / f.sum() ** 2
    pairs = pair_list(structure, r_cut)
    at = _points_between(lengths)
    assert len(at) > 5
    # Weights are in single precision.
    np.testing.assert_allclose(
        _cumulative(_lengths(pairs), pairs.weights, at), _cumulative(lengths, weights, at), rtol=1e-5
    )


@pytest.mark.parametrize("structure", [*ALL_SYSTEMS, random_triclinic(4)], ids=lambda s: s.id)
def test_lengths_in_a_strained_cell_are_those_of_a_structure_with_that_cell(structure: Structure) -> None:
    a, b, c = (np.array([0.96, 1.01, 1.04])[k] for k in axis_classes(structure.operations))
    scales = (float(a), float(b), float(c))
    pairs = pair_list(structure, 9.0)
    lengths, _, _ = pair_distances(stretched(structure, *scales), np.ones(3), 8.0)
    strained = _lengths(pairs, scales)
    # Single precision of squared lengths up to 81 Å².
    for r in np.unique(np.round(lengths, 4)):
        assert np.abs(strained - r).min() < 1e-4
    assert len(np.unique(np.round(strained[strained < 8.0], 3))) <= len(np.unique(np.round(lengths, 3))) + 2


def test_a_cubic_list_is_far_shorter_than_its_pairs_and_a_triclinic_one_is_not() -> None:
    assert len(pair_list(NICKEL, 30.0)) < 200
    assert len(pair_list(in_p1(NICKEL), 30.0)) > len(pair_list(NICKEL, 30.0))
    images = len(TRICLINIC.unit_cell) ** 2 / 2 * 4 / 3 * np.pi * 20.0**3 / TRICLINIC.cell.volume
    assert len(pair_list(TRICLINIC, 20.0)) == pytest.approx(images / 2, rel=0.3)


@pytest.mark.parametrize("structure", [RUTILE, TRICLINIC, SPINEL], ids=lambda s: s.id)
@pytest.mark.parametrize("with_u", [False, True])
def test_small_lists_hold_together_what_one_list_holds(structure: Structure, with_u: bool) -> None:
    u_iso = 0.01 + 0.001 * structure.unit_cell.site if with_u else None
    whole = pair_list(structure, 12.0, u_iso=u_iso)
    parts = list(pair_lists(structure, 12.0, u_iso=u_iso, max_pairs=500))
    assert len(parts) > 1
    for c, u_sum in enumerate(whole.u_sums):
        found: Counter[float] = Counter()
        for part in parts:
            assert part.u_sums[c] == u_sum
            span = slice(part.offsets[c], part.offsets[c + 1])
            for square, weight in zip(part.squares[span], part.weights[span], strict=True):
                found[round(float(square), 2)] += float(weight)
        span = slice(whole.offsets[c], whole.offsets[c + 1])
        total = sum(found.values())
        assert total == pytest.approx(float(whole.weights[span].sum(dtype=float)), rel=1e-5)
        assert {round(float(square), 2) for square in whole.squares[span]} == set(found)


def test_classes_of_displacement_hold_the_pairs_of_their_sites() -> None:
    # Ti and O of rutile: three sums of U. In all, six pairs Ti-O to a Ti under 2.5 Å, none of one kind.
    u_iso = np.where(RUTILE.unit_cell.numbers == 22, 0.004, 0.01)
    pairs = pair_list(RUTILE, 2.1, u_iso=u_iso)
    np.testing.assert_allclose(pairs.u_sums, [0.008, 0.014, 0.02])
    counts = np.diff(pairs.offsets)
    assert counts[0] == counts[2] == 0
    assert counts[1] == 2
    mean = (2 * 22 + 4 * 8) / 6
    assert pairs.weights.sum() == pytest.approx(2 * 12 * 22 * 8 / 6 / mean**2, rel=1e-5)


def test_amplitudes_other_than_electrons_are_taken() -> None:
    amplitudes = np.where(ROCK_SALT.unit_cell.numbers == 11, 3.63, 9.577)
    pairs = pair_list(ROCK_SALT, 3.0, amplitudes=amplitudes)
    assert pairs.weights.sum() == pytest.approx(6 * 3.63 * 9.577 / ((3.63 + 9.577) / 2) ** 2, rel=1e-6)


def test_factors_that_break_the_symmetry_are_refused() -> None:
    with pytest.raises(ConfigError, match="break the symmetry"):
        pair_list(RUTILE, 4.0).steps(np.array([[1.0, 1.01, 1.0]]))


def test_amplitudes_that_cancel_are_refused() -> None:
    with pytest.raises(StructureError, match="zero") as caught:
        pair_list(ROCK_SALT, 4.0, amplitudes=np.where(ROCK_SALT.unit_cell.numbers == 11, 1.0, -1.0))
    assert caught.value.reason == "no_scattering"
    empty = crystal("empty", "P 1", (3.0, 3.0, 3.0, *RIGHT), ("Fe", 0, 0, 0, 0.0))
    with pytest.raises(StructureError, match="zero"):
        pair_list(empty, 4.0)


@pytest.mark.parametrize("u", [0.0, -0.01, np.nan])
def test_a_displacement_that_is_not_above_zero_is_refused(u: float) -> None:
    with pytest.raises(StructureError, match="above zero"):
        pair_list(RUTILE, 4.0, u_iso=np.where(RUTILE.unit_cell.numbers == 8, u, 0.01))


def test_a_cell_without_volume_is_refused() -> None:
    flat = crystal("flat", "P 1", (3.0, 4.0, 5.0, 90.0, 90.0, 180.0), ("Fe", 0, 0, 0))
    with pytest.raises(StructureError, match="no volume"):
        pair_list(flat, 4.0)


def test_atoms_that_share_a_place_to_a_hundredth_of_an_angstrom_are_no_pair() -> None:
    shared = crystal("shared", "P 1", (4.0, 4.0, 4.0, *RIGHT), ("Cu", 0, 0, 0, 0.5), ("Au", 0.002, 0, 0, 0.5))
    assert np.sqrt(pair_list(shared, 5.0).squares.min()) > 3.9
    apart = crystal("apart", "P 1", (4.0, 4.0, 4.0, *RIGHT), ("Cu", 0, 0, 0, 0.5), ("Au", 0.003, 0, 0, 0.5))
    assert np.sqrt(pair_list(apart, 5.0).squares.min()) == pytest.approx(0.012, rel=1e-4)


def test_a_cell_larger_than_the_reach_has_no_pairs() -> None:
    lonely = crystal("lonely", "P 1", (50.0, 50.0, 50.0, *RIGHT), ("Fe", 0.1, 0.2, 0.3))
    assert len(pair_list(lonely, 30.0)) == 0
