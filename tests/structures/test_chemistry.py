"""Organic, inorganic and metal–organic are told apart as chemists do it, on small models with real bond lengths."""

from pathlib import Path

import numpy as np
import pytest

from hpc_mlsm.structures.chemistry import chemistry_of
from hpc_mlsm.structures.cif import parse_cif
from hpc_mlsm.structures.structure import Cell, Site, Structure

EDGE = 10.0


def molecule(atoms: list[tuple[str, float, float, float]], angle: float = 90.0) -> Structure:
    """Atoms at Cartesian places (Å), in a cell of 10 Å without symmetry, first atom at the cell's corner."""
    sites = tuple(Site(e, e, x / EDGE, y / EDGE, z / EDGE) for e, x, y, z in atoms)
    return Structure("m", "", Cell(EDGE, EDGE, EDGE, 90.0, 90.0, angle), 1, "P 1", ("x,y,z",), sites)


METHANE = [("C", 0, 0, 0), ("H", 0.63, 0.63, 0.63), ("H", -0.63, -0.63, 0.63)]
UREA = [("C", 0, 0, 0), ("O", 0, 0, 1.26), ("N", 1.15, 0, -0.7), ("N", -1.15, 0, -0.7)]
OXALATE = [("C", 0, 0, 0), ("C", 1.56, 0, 0), ("O", -0.6, 1.09, 0), ("O", 2.16, -1.09, 0)]
CARBONATE = [("C", 0, 0, 0), ("O", 1.28, 0, 0), ("O", -0.64, 1.11, 0), ("O", -0.64, -1.11, 0)]
CYANIDE = [("C", 0, 0, 0), ("N", 1.15, 0, 0)]
GRAPHITE = [("C", 0, 0, 0), ("C", 1.42, 0, 0)]
WATER = [("O", 5, 5, 5), ("H", 5.96, 5, 5)]
SODIUM = [("Na", 4, 4, 7)]
CASES = {
    "methane": (METHANE, "organic"),
    "sodium methanide": (METHANE + SODIUM, "metal_organic"),
    "urea without its hydrogen": (UREA, "organic"),
    "sodium urea": (UREA + SODIUM, "metal_organic"),
    "oxalate": (OXALATE + SODIUM, "metal_organic"),
    "oxalic acid": (OXALATE + WATER, "organic"),
    "sodium carbonate": (CARBONATE + SODIUM, "inorganic"),
    "hydrated carbonate": (CARBONATE + SODIUM + WATER, "inorganic"),
    "sodium cyanide": (CYANIDE + SODIUM, "inorganic"),
    "graphite": (GRAPHITE, "inorganic"),
    "sodium in graphite": (GRAPHITE + SODIUM, "inorganic"),
    "water": (WATER, "inorganic"),
    "silane with carbon": ([("C", 0, 0, 0), ("C", 1.54, 0, 0), ("Si", -1.88, 0, 0)], "organic"),
    "carbon dioxide": ([("C", 0, 0, 0), ("O", 1.16, 0, 0), ("O", -1.16, 0, 0)], "inorganic"),
    "far apart": ([("C", 0, 0, 0), ("H", 3, 3, 3), ("C", 5, 5, 5)], "inorganic"),
}


@pytest.mark.parametrize("name", CASES)
def test_compounds_are_called_what_chemists_call_them(name: str) -> None:
    atoms, expected = CASES[name]
    assert chemistry_of(molecule(atoms)) == expected


@pytest.mark.parametrize("angle", [60.0, 90.0, 125.0])
def test_a_bond_across_the_cells_border_counts(angle: float) -> None:
    cell = Cell(EDGE, EDGE, EDGE, 90.0, 90.0, angle)
    # A hydrogen 1.09 Å below the carbon along c, which is at right angles to a and b.
    sites = (Site("C", "C", 0.02, 0.98, 0.03), Site("H", "H", 0.02, 0.98, 0.03 - 0.109))
    assert chemistry_of(Structure("m", "", cell, 1, "P 1", ("x,y,z",), sites)) == "organic"
    moved = (sites[0], Site("H", "H", 1.02, -0.02, 0.921))
    assert chemistry_of(Structure("m", "", cell, 1, "P 1", ("x,y,z",), moved)) == "organic"


def test_symmetry_makes_the_bond_of_one_listed_carbon() -> None:
    cell = Cell(EDGE, EDGE, EDGE, 90.0, 90.0, 90.0)
    sites = (Site("C", "C", 0.077, 0.0, 0.0), Site("O", "O", 0.2, 0.1, 0.0))
    paired = Structure("m", "", cell, 2, "P -1", ("x,y,z", "-x,-y,-z"), sites)
    alone = Structure("m", "", cell, 1, "P 1", ("x,y,z",), sites)
    assert (chemistry_of(paired), chemistry_of(alone)) == ("organic", "inorganic")


def test_real_structures_with_carbon_are_sorted_as_they_should_be(shared_data: Path) -> None:
    kinds: dict[str, str] = {}
    for path in sorted((shared_data / "cod").rglob("*.cif")):
        for structure in parse_cif(path.read_bytes(), path.stem, path.name)[0]:
            if "C" in structure.elements:
                kinds[structure.formula] = chemistry_of(structure)
    expected = {"SiC", "WC", "CaCO3", "CaMgC2O6", "FeCO3", "Li2CO3", "MgCO6", "Na2CO3", "CHNaO3", "C"}
    assert {formula for formula, kind in kinds.items() if kind == "inorganic"} == expected
    # Ferrocene and two hydrates of calcium oxalate.
    assert sum(kind == "metal_organic" for kind in kinds.values()) == 3
    assert np.isin(list(kinds.values()), ["inorganic", "metal_organic"]).all()
