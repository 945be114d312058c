"""Kinds of places are compared with the Wyckoff positions of the International Tables, and with what symmetry does."""

import gemmi
import numpy as np
import pytest

from hpc_mlsm.structures.symmetry import operations_of, rotations_and_translations
from hpc_mlsm.structures.wyckoff import positions_of

# Multiplicity and number of free coordinates of all Wyckoff positions, International Tables A.
TABLES = {
    1: {(1, 3)},
    2: {(2, 3), (1, 0)},
    14: {(4, 3), (2, 0)},
    62: {(8, 3), (4, 0), (4, 2)},
    139: {(32, 3), (16, 2), (16, 1), (8, 1), (8, 0), (4, 1), (4, 0), (2, 0)},
    194: {(24, 3), (12, 2), (12, 1), (6, 1), (6, 0), (4, 1), (2, 0)},
    225: {(192, 3), (96, 2), (48, 1), (32, 1), (24, 1), (24, 0), (8, 0), (4, 0)},
    227: {(192, 3), (96, 2), (96, 1), (48, 1), (32, 1), (16, 0), (8, 0)},
    230: {(96, 3), (48, 1), (32, 1), (24, 0), (16, 0)},
}


@pytest.mark.parametrize("group", TABLES)
def test_multiplicities_and_freedoms_are_those_of_the_tables(group: int) -> None:
    assert {(place.multiplicity, place.freedom) for place in positions_of(group)} == TABLES[group]


@pytest.mark.parametrize("group", [2, 15, 43, 62, 98, 122, 148, 167, 176, 194, 205, 220, 227])
def test_points_of_a_kind_have_as_many_images_as_it_says(group: int) -> None:
    rng = np.random.default_rng(group)
    operations = operations_of(gemmi.find_spacegroup_by_number(group))
    rotations, translations = rotations_and_translations(operations)
    for place in positions_of(group):
        point = place.point(rng.random(3))
        images = np.round((rotations @ point + translations) % 1.0, 6) % 1.0
        assert len(np.unique(images, axis=0)) == place.multiplicity
        assert ((point >= 0) & (point < 1)).all()
        np.testing.assert_allclose(place.projection @ place.projection, place.projection, atol=1e-8)
        assert np.linalg.matrix_rank(place.projection) == place.freedom


def test_every_space_group_has_its_general_place_first() -> None:
    for group in range(1, 231, 7):
        first = positions_of(group)[0]
        order = len(operations_of(gemmi.find_spacegroup_by_number(group)))
        assert (first.multiplicity, first.freedom) == (order, 3)
