"""Small structures for the tests of scattering, from cubic to triclinic."""

from dataclasses import replace

import gemmi
import numpy as np

from hpc_mlsm.structures.structure import Cell, Site, Structure
from hpc_mlsm.structures.symmetry import operations_of

RIGHT = (90.0, 90.0, 90.0)


def crystal(name: str, space_group: str, cell: tuple[float, ...], *sites: tuple) -> Structure:
    """A structure from sites (element, x, y, z) or (element, x, y, z, occupancy)."""
    group = gemmi.SpaceGroup(space_group)
    return Structure(
        id=name,
        name=name,
        cell=Cell(*cell),
        space_group=group.number,
        space_group_symbol=group.xhm(),
        operations=operations_of(group),
        sites=tuple(Site(f"{site[0]}{n}", *site) for n, site in enumerate(sites)),
    )


def in_p1(structure: Structure) -> Structure:
    """The same crystal with every atom of the cell as a site of its own and no symmetry."""
    atoms = structure.unit_cell
    return replace(
        structure,
        space_group=1,
        space_group_symbol="P 1",
        operations=("x,y,z",),
        sites=tuple(
            Site(f"A{n}", gemmi.Element(int(z)).name, *map(float, xyz), float(occupancy))
            for n, (z, xyz, occupancy) in enumerate(zip(atoms.numbers, atoms.fractional, atoms.occupancy, strict=True))
        ),
    )


def stretched(structure: Structure, *factors: float) -> Structure:
    """The same fractional coordinates in a cell with a, b and c multiplied by factors."""
    cell = structure.cell
    return replace(structure, cell=replace(cell, a=cell.a * factors[0], b=cell.b * factors[1], c=cell.c * factors[2]))


def random_triclinic(seed: int, n_atoms: int = 5) -> Structure:
    """A cell of random shape and content; atoms may come close, which is no matter for the arithmetic."""
    generator = np.random.default_rng(seed)
    angles = generator.uniform(65, 115, 3)
    while np.cos(np.radians(angles)) @ np.cos(np.radians(angles)) > 0.6:
        angles = generator.uniform(65, 115, 3)
    cell = (*generator.uniform(3.5, 7.0, 3), *angles)
    elements = generator.choice(["O", "Si", "Fe", "Ba"], n_atoms)
    sites = [(str(element), *generator.random(3), float(generator.uniform(0.3, 1.0))) for element in elements]
    return crystal(f"random-{seed}", "P 1", cell, *sites)


NICKEL = crystal("nickel", "F m -3 m", (3.524, 3.524, 3.524, *RIGHT), ("Ni", 0, 0, 0))
IRON = crystal("iron", "I m -3 m", (2.866, 2.866, 2.866, *RIGHT), ("Fe", 0, 0, 0))
DIAMOND = crystal("diamond", "F d -3 m:2", (3.567, 3.567, 3.567, *RIGHT), ("C", 0.125, 0.125, 0.125))
ROCK_SALT = crystal("rock-salt", "F m -3 m", (5.64, 5.64, 5.64, *RIGHT), ("Na", 0, 0, 0), ("Cl", 0.5, 0.5, 0.5))
SPINEL = crystal(
    "spinel",
    "F d -3 m:2",
    (8.39, 8.39, 8.39, *RIGHT),
    ("Fe", 0.125, 0.125, 0.125),
    ("Fe", 0.5, 0.5, 0.5),
    ("O", 0.2547, 0.2547, 0.2547),
)
RUTILE = crystal("rutile", "P 42/m n m", (4.594, 4.594, 2.959, *RIGHT), ("Ti", 0, 0, 0), ("O", 0.305, 0.305, 0))
WURTZITE = crystal(
    "wurtzite", "P 63 m c", (3.82, 3.82, 6.26, 90.0, 90.0, 120.0), ("Zn", 1 / 3, 2 / 3, 0), ("S", 1 / 3, 2 / 3, 0.375)
)
CORUNDUM = crystal(
    "corundum", "R -3 c:H", (4.7589, 4.7589, 12.991, 90.0, 90.0, 120.0), ("Al", 0, 0, 0.3522), ("O", 0.3064, 0, 0.25)
)
CORUNDUM_RHOMBOHEDRAL = crystal(
    "corundum-r",
    "R -3 c:R",
    (5.128, 5.128, 5.128, 55.28, 55.28, 55.28),
    ("Al", 0.3522, 0.3522, 0.3522),
    ("O", 0.5564, 0.9436, 0.25),
)
MARCASITE = crystal("marcasite", "P n n m", (4.436, 5.414, 3.381, *RIGHT), ("Fe", 0, 0, 0), ("S", 0.2, 0.378, 0))
BADDELEYITE = crystal(
    "baddeleyite",
    "P 1 21/c 1",
    (5.1505, 5.2116, 5.3173, 90.0, 99.23, 90.0),
    ("Zr", 0.2754, 0.0395, 0.2083),
    ("O", 0.07, 0.3317, 0.3447),
    ("O", 0.4496, 0.7569, 0.4792),
)
TRICLINIC = crystal(
    "triclinic",
    "P -1",
    (4.1, 5.2, 6.3, 78.0, 95.0, 112.0),
    ("Ba", 0.1, 0.2, 0.3),
    ("O", 0.6, 0.55, 0.8, 0.7),
    ("Ti", 0.5, 0.0, 0.5),
)
ALLOY = crystal("alloy", "F m -3 m", (3.7, 3.7, 3.7, *RIGHT), ("Cu", 0, 0, 0, 0.6), ("Au", 0, 0, 0, 0.3))
"""Two elements on one site, and a tenth of the sites empty."""

ALL_SYSTEMS = (NICKEL, ROCK_SALT, RUTILE, WURTZITE, CORUNDUM, CORUNDUM_RHOMBOHEDRAL, MARCASITE, BADDELEYITE, TRICLINIC)
