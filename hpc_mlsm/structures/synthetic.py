"""Made-up crystals: any number of labelled structures where no database is at hand.

Atoms are put at random places of a chosen space group, special ones included, into a cell that the crystal system
allows and whose size follows from the atoms; distances and density are those of real crystals, and spglib must find the
very space group that was asked for. Structure k depends on the settings' seed and k only.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import gemmi
import numpy as np
from annotated_types import Ge, Interval
from numpy.typing import NDArray

from hpc_mlsm.errors import ConfigError, StructureError
from hpc_mlsm.structures.found_symmetry import found_space_group
from hpc_mlsm.structures.labels import CRYSTAL_SYSTEMS, system_index
from hpc_mlsm.structures.structure import Cell, Site, Structure
from hpc_mlsm.structures.symmetry import operations_of
from hpc_mlsm.structures.synthetic_cell import SYMPREC, drawn_cell, needed_stretch
from hpc_mlsm.structures.wyckoff import Position, positions_of

_TRIES = 60
_FEW = 12
"""Cells may have so many atoms at least, where the space group's places allow it; how many they have is drawn."""

_STOP = 0.2
"""Chance that no further orbit of atoms is added."""

_DENSITY = (0.5, 22.0)
_METALS = "Li Na K Mg Ca Sr Ba Al Ga In Sc Y La Ce Nd Ti Zr Hf V Nb Ta Cr Mo W Mn Fe Co Ni Cu Zn Ag Cd Sn Pb Bi"
_OTHERS = "O O O O S Se F Cl Br N P Si C B As I"
_ELEMENTS = (_METALS.split(), _OTHERS.split())
"""Metals, and the rest, oxygen four times as likely as others."""


@dataclass(frozen=True)
class SyntheticSettings:
    """Made-up crystals.

    Attributes
    ----------
    count
        How many.
    shares
        Relative numbers of triclinic, monoclinic, orthorhombic, tetragonal, trigonal, hexagonal and cubic ones.
    space_groups
        Where not empty: only these.
    max_atoms
        Largest number of atoms in a cell.
    min_axis, max_axis
        Cell axes (Å).
    seed
        Another one gives other crystals.
    """

    count: Annotated[int, Ge(0)] = 0
    shares: tuple[float, float, float, float, float, float, float] = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    space_groups: frozenset[int] = frozenset()
    max_atoms: Annotated[int, Interval(ge=4, le=1000)] = 128
    min_axis: Annotated[float, Interval(ge=2.0, le=10.0)] = 2.5
    max_axis: Annotated[float, Interval(ge=5.0, le=100.0)] = 40.0
    seed: Annotated[int, Ge(0)] = 0

    def __post_init__(self) -> None:
        wrong = sorted(number for number in self.space_groups if number not in range(1, 231))
        if wrong:
            raise ConfigError(f"space_groups: {wrong[0]} is no space group; numbers are 1 to 230")
        if min(self.shares) < 0.0 or not self.chances.any():
            raise ConfigError(
                f"shares = {list(self.shares)} leave no crystal system"
                + (" that the chosen space groups have" if self.space_groups else "")
                + "; give seven numbers of 0 or more, one above 0"
            )

    def made(self, number: int) -> Structure:
        """Structure ``number``; see ``synthetic_structure``."""
        return synthetic_structure(self, number)

    def id_of(self, number: int) -> str:
        """Id of structure ``number``."""
        return f"synthetic/{self.seed}-{number:07d}"

    @property
    def chances(self) -> NDArray[np.float64]:
        """Chance of each crystal system, adding to 1; all zero where none is left."""
        possible = np.ones(7) if not self.space_groups else np.zeros(7)
        possible[[system_index(number) for number in self.space_groups]] = 1.0
        weights = possible * np.array(self.shares)
        return weights / weights.sum() if weights.sum() > 0 else weights


def synthetic_structures(settings: SyntheticSettings, first: int = 0, count: int | None = None) -> Iterator[Structure]:
    """Structures ``first`` to ``first + count`` of a made-up catalogue; all of it by default."""
    last = settings.count if count is None else first + count
    for number in range(first, last):
        yield synthetic_structure(settings, number)


def synthetic_structure(settings: SyntheticSettings, number: int) -> Structure:
    """One made-up structure.

    Raises
    ------
    StructureError
        With reason ``not_made`` where no allowed space group of the system could be filled, which ``max_atoms`` or the
        axes' limits would have to be very tight for.
    """
    digest = hashlib.sha256(f"synthetic:{settings.seed}:{number}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:16], "big"))
    system = CRYSTAL_SYSTEMS[rng.choice(7, p=settings.chances)]
    groups = [
        group for group in (settings.space_groups or range(1, 231)) if CRYSTAL_SYSTEMS[system_index(group)] == system
    ]
    for group in rng.permutation(np.repeat(sorted(groups), max(1, 8 // len(groups)))):
        for _ in range(_TRIES):
            try:
                structure = _attempt(rng, int(group), system, settings, settings.id_of(number))
            except StructureError:  # an atom so close to a special place that its images cannot be told apart
                continue
            if structure is not None:
                return structure
    raise StructureError(
        "not_made",
        f"synthetic structure {number} ({system}) could not be made with at most {settings.max_atoms} atoms and axes "
        f"of {settings.min_axis:g} to {settings.max_axis:g} Å; raise max_atoms or widen the axes",
    )


def _attempt(
    rng: np.random.Generator, group: int, system: str, settings: SyntheticSettings, identity: str
) -> Structure | None:
    """One try: None where atoms collide, limits are broken, or the symmetry comes out higher."""
    places = _places(rng, positions_of(group), settings.max_atoms)
    if not places:
        return None
    elements = _elements(rng, len(places))
    radii = np.array([gemmi.Element(symbol).covalent_r for symbol in elements])
    amounts = np.array([position.multiplicity for position, _ in places])
    volume = float((amounts * 4.19 * radii**3).sum() * rng.uniform(1.2, 2.2))
    cell = drawn_cell(rng, system, volume)
    points = [point.tolist() for _, point in places]
    spacegroup = gemmi.find_spacegroup_by_number(group)
    sites = tuple(
        Site(f"{symbol}{k + 1}", symbol, point[0], point[1], point[2], u_iso=round(float(rng.uniform(0.004, 0.025)), 4))
        for k, (symbol, point) in enumerate(zip(elements, points, strict=True))
    )
    draft = Structure(identity, "", cell, group, spacegroup.xhm(), operations_of(spacegroup), sites, source="synthetic")
    stretch = needed_stretch(draft, radii)
    if stretch is None:
        return None
    axes = [round(length * stretch, 4) for length in (cell.a, cell.b, cell.c)]
    if min(axes) < settings.min_axis or max(axes) > settings.max_axis:
        return None
    cell = Cell(axes[0], axes[1], axes[2], cell.alpha, cell.beta, cell.gamma)
    made = Structure(identity, "", cell, group, draft.space_group_symbol, draft.operations, sites, source="synthetic")
    if not _DENSITY[0] <= made.density <= _DENSITY[1] or found_space_group(made, SYMPREC) != group:
        return None
    return made.annotated(made.formula, ())


def _places(
    rng: np.random.Generator, positions: tuple[Position, ...], max_atoms: int
) -> list[tuple[Position, NDArray[np.float64]]]:
    """Kinds of places with a point each: a few orbits, together at most so many atoms as were drawn."""
    smallest = min(position.multiplicity for position in positions)
    left = int(np.exp(rng.uniform(np.log(min(max(_FEW, smallest), max_atoms)), np.log(max_atoms))))
    places: list[tuple[Position, NDArray[np.float64]]] = []
    fixed: set[int] = set()
    for _ in range(1 + int(rng.geometric(_STOP))):
        fitting = [k for k, position in enumerate(positions) if position.multiplicity <= left and k not in fixed]
        if not fitting:
            break
        # The number of free coordinates is drawn first, then the multiplicity: there are many kinds of some.
        chosen = _drawn(rng, _drawn_by(rng, fitting, [positions[k].freedom for k in fitting]), positions)
        places.append((positions[chosen], positions[chosen].point(rng.random(3))))
        left -= positions[chosen].multiplicity
        if positions[chosen].freedom == 0:
            fixed.add(chosen)
    return places


def _drawn_by(rng: np.random.Generator, kinds: list[int], value: list[int]) -> list[int]:
    """The kinds that have one of the values, each value being as likely."""
    drawn = rng.choice(np.unique(value))
    return [kind for kind, own in zip(kinds, value, strict=True) if own == drawn]


def _drawn(rng: np.random.Generator, kinds: list[int], positions: tuple[Position, ...]) -> int:
    return int(rng.choice(_drawn_by(rng, kinds, [positions[k].multiplicity for k in kinds])))


def _elements(rng: np.random.Generator, orbits: int) -> list[str]:
    """An element for each orbit, of one to four different ones."""
    kinds = int(rng.integers(min(2, orbits), min(4, orbits) + 1))
    metals, others = _ELEMENTS
    chosen = [str(rng.choice(metals if k % 2 == 0 else others)) for k in range(kinds)]
    return chosen + [str(rng.choice(chosen)) for _ in range(orbits - kinds)]
