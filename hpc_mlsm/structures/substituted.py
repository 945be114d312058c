"""Made-up crystals by substitution: structure types of the starter set with other elements in them.

The cell follows the ionic radii of the new elements, and is drawn a little larger or smaller, so that no two are quite
alike. They are plausible neighbours of real structures, and many of them resemble each other as those of a database
do; but none of them was ever measured, and each says so in its id, name, source and notes. Structure k depends on the
seed and k only.
"""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated

import gemmi
import numpy as np
from annotated_types import Ge, Interval
from numpy.typing import NDArray

from hpc_mlsm.structures.ionic_radii import ANIONS, CATIONS, RADII
from hpc_mlsm.structures.starter import ID_PREFIX, starter_set
from hpc_mlsm.structures.structure import Cell, Site, Structure, UnitCell, reduced_formula

SOURCE = "synthetic"
"""Source of everything that is made up."""

_CATIONS, _ANIONS = tuple(sorted(CATIONS)), tuple(sorted(ANIONS))


@dataclass(frozen=True)
class SubstitutedSettings:
    """Made-up crystals by substitution.

    Attributes
    ----------
    count
        How many.
    max_atoms
        Largest number of atoms in a cell of the structure types used.
    spread
        Cells are drawn larger or smaller by up to this fraction of their axes.
    seed
        Another one gives other crystals.
    """

    count: Annotated[int, Ge(0)] = 0
    max_atoms: Annotated[int, Interval(ge=4, le=1000)] = 128
    spread: Annotated[float, Interval(ge=0.0, le=0.1)] = 0.02
    seed: Annotated[int, Ge(0)] = 0

    def made(self, number: int) -> Structure:
        """Structure ``number``; see ``substituted_structure``."""
        return substituted_structure(self, number)

    def id_of(self, number: int) -> str:
        """Id of structure ``number``."""
        return f"synthetic/substituted-{self.seed}-{number:07d}"


@dataclass(frozen=True)
class _Prototype:
    """A structure type: atoms, and which of its elements are exchanged."""

    structure: Structure
    atoms: UnitCell
    cations: tuple[str, ...]
    anions: tuple[str, ...]
    kept: frozenset[str]
    volume: float


def substituted_structures(
    settings: SubstitutedSettings, first: int = 0, count: int | None = None
) -> Iterator[Structure]:
    """Structures ``first`` to ``first + count`` of a made-up catalogue; all of it by default."""
    last = settings.count if count is None else first + count
    for number in range(first, last):
        yield substituted_structure(settings, number)


def substituted_structure(settings: SubstitutedSettings, number: int) -> Structure:
    """One made-up structure: a structure type, its metals and anions exchanged, its cell scaled.

    The axes are scaled by the cube root of the ratio of the ions' volumes, before and after.
    """
    digest = hashlib.sha256(f"substituted:{settings.seed}:{number}".encode()).digest()
    rng = random.Random(int.from_bytes(digest[:8], "big"))
    prototypes = _prototypes(settings.max_atoms)
    prototype = prototypes[rng.randrange(len(prototypes))]
    exchange = _exchange(rng, prototype)
    composition = {exchange[symbol]: n for symbol, n in prototype.structure.composition.items()}
    factor = (_ion_volume(composition) / prototype.volume) ** (1.0 / 3.0)
    factor *= 1.0 + settings.spread * rng.uniform(-1.0, 1.0)
    return _with_elements(settings.id_of(number), prototype, exchange, composition, factor)


def _exchange(rng: random.Random, prototype: _Prototype) -> dict[str, str]:
    """Which element takes the place of which; different ones stay different."""
    exchange = {symbol: symbol for symbol in prototype.kept}
    for symbols, others in ((prototype.cations, _CATIONS), (prototype.anions, _ANIONS)):
        drawn = rng.sample(others, len(symbols) + len(prototype.kept))
        free = [symbol for symbol in drawn if symbol not in prototype.kept]
        exchange |= dict(zip(symbols, free, strict=False))
    return exchange


def _with_elements(
    identity: str, prototype: _Prototype, exchange: dict[str, str], composition: dict[str, float], factor: float
) -> Structure:
    kind, old, atoms = prototype.structure, prototype.structure.cell, prototype.atoms
    formula = reduced_formula(composition)
    a, b, c = (round(length * factor, 5) for length in (old.a, old.b, old.c))
    sites = []
    for place, site in enumerate(kind.sites, start=1):
        element = exchange[site.element]
        sites.append(Site(f"{element}{place}", element, site.x, site.y, site.z, site.occupancy, site.u_iso))
    made = Structure(
        identity,
        f"synthetic {formula} ({kind.name} type)",
        Cell(a, b, c, old.alpha, old.beta, old.gamma),
        kind.space_group,
        kind.space_group_symbol,
        kind.operations,
        tuple(sites),
        source=SOURCE,
        notes=(f"synthetic: structure type of {kind.id.removeprefix(ID_PREFIX)} with other elements, never measured",),
    )
    numbers = _numbers(tuple(site.element for site in sites))
    # Known without expanding the cell again.
    unit_cell = replace(atoms, numbers=numbers[atoms.site])
    made.__dict__.update(unit_cell=unit_cell, composition=composition, formula=formula)
    return made


def _numbers(symbols: tuple[str, ...]) -> NDArray[np.int64]:
    return np.array([gemmi.Element(symbol).atomic_number for symbol in symbols], dtype=np.int64)


def _ion_volume(composition: dict[str, float]) -> float:
    """Sum of the cubes of the radii over a cell (Å³)."""
    return sum(n * RADII[symbol] ** 3 for symbol, n in composition.items())


@cache
def _prototypes(max_atoms: int) -> tuple[_Prototype, ...]:
    """Structure types of the starter set whose elements all have a radius, and of which one can be exchanged."""
    found = []
    for structure in starter_set():
        atoms = structure.unit_cell
        exchanged = structure.elements & (CATIONS.keys() | ANIONS.keys())
        if len(atoms) > max_atoms or not exchanged or not structure.elements <= RADII.keys():
            continue
        cations, anions = (tuple(sorted(exchanged & kind.keys())) for kind in (CATIONS, ANIONS))
        kept = structure.elements - exchanged
        found.append(_Prototype(structure, atoms, cations, anions, kept, _ion_volume(structure.composition)))
    return tuple(found)
