"""Made-up crystals by substitution: deterministic, labelled, sound, and like the structure types they come from."""

import subprocess
import sys

import numpy as np
import pytest

from hpc_mlsm.structures.ionic_radii import ANIONS, CATIONS, RADII
from hpc_mlsm.structures.starter import starter_set
from hpc_mlsm.structures.structure import Structure
from hpc_mlsm.structures.substituted import SubstitutedSettings, substituted_structures
from hpc_mlsm.structures.symmetry import cell_misfit

SETTINGS = SubstitutedSettings(count=150)
MADE = list(substituted_structures(SETTINGS))


def test_what_is_made_depends_on_seed_and_number_only() -> None:
    assert list(substituted_structures(SETTINGS, first=40, count=3)) == MADE[40:43]
    assert list(substituted_structures(SubstitutedSettings(count=3, seed=1))) != MADE[:3]
    code = (
        "from hpc_mlsm.structures.substituted import *;"
        "print(*(s.content_hash for s in substituted_structures(SubstitutedSettings(count=5))))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.split() == [structure.content_hash for structure in MADE[:5]]


def test_each_says_everywhere_that_it_is_synthetic() -> None:
    for structure in MADE:
        assert structure.id.startswith("synthetic/")
        assert structure.name.startswith("synthetic ")
        assert structure.source == "synthetic"
        assert structure.notes[0].startswith("synthetic: ")
        assert structure.cod_id is None


def test_no_two_are_alike() -> None:
    assert len({structure.content_hash for structure in MADE}) == len(MADE)


def test_what_is_carried_over_from_the_structure_type_is_what_would_be_computed() -> None:
    for structure in MADE:
        fresh = Structure.from_json(structure.to_json())
        assert fresh.formula == structure.formula
        assert fresh.composition == pytest.approx(structure.composition)
        for name in ("numbers", "site", "operation", "occupancy"):
            assert np.array_equal(getattr(fresh.unit_cell, name), getattr(structure.unit_cell, name)), name
        assert np.allclose(fresh.unit_cell.fractional, structure.unit_cell.fractional, atol=1e-9)
        assert cell_misfit(structure.cell, structure.operations) < 1e-3


def test_cells_follow_the_radii_of_their_ions() -> None:
    """Against the definition: volume per volume of ions, within what the spread allows."""
    kinds = {(s.name, len(s.sites)): s for s in starter_set()}
    for structure in MADE:
        name = structure.name.partition("(")[2].removesuffix(" type)")
        kind = kinds[name, len(structure.sites)]
        ions = [sum(n * RADII[symbol] ** 3 for symbol, n in s.composition.items()) for s in (kind, structure)]
        ratio = structure.cell.volume / kind.cell.volume / (ions[1] / ions[0])
        assert 0.98**3 * 0.999 <= ratio <= 1.02**3 * 1.001


def test_metals_take_the_places_of_metals_and_the_space_group_stays() -> None:
    for structure in MADE:
        assert structure.elements <= RADII.keys()
        assert structure.elements & (CATIONS.keys() | ANIONS.keys())
        assert any(s.space_group == structure.space_group for s in starter_set())
