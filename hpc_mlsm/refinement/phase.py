"""One phase of a fit: its parameters as a vector, its curve, and the curve's derivatives by them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import gemmi
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.refinement.cell import NAMES as CELL_NAMES
from hpc_mlsm.refinement.cell import UNITS as CELL_UNITS
from hpc_mlsm.refinement.cell import FreeCell, independent
from hpc_mlsm.refinement.settings import RefineSettings
from hpc_mlsm.scattering.conditions import PdfConditions, PdfGrid
from hpc_mlsm.scattering.gradients import Motion, pdf_with_gradient
from hpc_mlsm.scattering.pairs import PairList, pair_lists
from hpc_mlsm.scattering.pdf import reach
from hpc_mlsm.structures.structure import Structure

U_ISO = (0.0008, 0.1)
"""Å²; zero-point motion of heavy atoms, and more than any crystal has."""

U_ISO_START = (0.003, 0.02, 0.006)
"""Å²: what is believed of a structure's own U_iso, from and to, and what is taken where there is none."""

INVERSE_DIAMETER = (0.0, 0.1)
"""Å⁻¹: no limit of size, and particles of 10 Å."""

NO_LIMIT = 1e-6
"""Å⁻¹; larger particles are not told from those without limit."""

DELTA = {"none": (0.0, 2, ""), "delta1": (2.0, 1, "Å"), "delta2": (6.0, 2, "Å²")}
"""Largest value, power of r, and unit of the terms of correlated motion."""

_ONE = np.ones(1)

SHORTEST_BOND = 1.5
"""Å; shorter distances do not limit correlated motion, as they may be those of sites not occupied together."""

ROOM = 0.98
"""Pairs are listed this much further than was found to be needed, so that they are not listed again at once."""

REMAINING = 0.9
"""Of the variance of the first peak, correlated motion may take away so much."""


@dataclass(frozen=True)
class Block:
    """Some fit parameters of one kind: names, where they start, between which values they are, and a usual change."""

    names: tuple[str, ...]
    start: NDArray[np.float64]
    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]
    scale: float

    @classmethod
    def one(cls, name: str, start: float, limits: tuple[float, float], scale: float) -> "Block":
        """A single parameter."""
        return cls((name,), np.array([start]), np.array([limits[0]]), np.array([limits[1]]), scale)


@dataclass(frozen=True, eq=False)
class Reported:
    """A value that users see: its derivatives by all fit parameters, which of them it depends on, and if on its own.

    A value is not independent where symmetry ties it to an earlier one.
    """

    name: str
    value: float
    unit: str
    row: NDArray[np.float64]
    used: list[int]
    independent: bool

    def placed(self, first: int, n: int) -> "Reported":
        """The same among ``n`` fit parameters, of which those here are from ``first`` on."""
        row = np.zeros(n)
        row[first : first + len(self.row)] = self.row
        return replace(self, row=row, used=[first + i for i in self.used])


@dataclass(frozen=True)
class Phase:
    """A structure with its pairs; its vector x holds cell, U_iso of each group of atoms, delta, inverse diameter."""

    structure: Structure
    cell: FreeCell
    pairs: tuple[PairList, ...]
    elements: tuple[str, ...]
    groups: NDArray[np.int64]
    grid: PdfGrid
    q_range: tuple[float, float]
    settings: RefineSettings
    stretch: float

    @classmethod
    def of(
        cls,
        structure: Structure,
        grid: PdfGrid,
        q_range: tuple[float, float],
        settings: RefineSettings,
        stretch: float | None = None,
    ) -> "Phase":
        """List the pairs of a structure that are in the range, also when distances shrink by the factor ``stretch``.

        None takes that of cell lengths at their lowest; an unlucky change of an oblique cell may shrink some distances
        further, see ``reaching``.
        """
        stretch = 1 - settings.max_strain if stretch is None else stretch
        cell = FreeCell.of(structure, settings.max_strain)
        numbers = structure.unit_cell.numbers
        kinds = np.unique(numbers) if settings.displacement == "element" else np.array([0])
        labels = None
        if settings.displacement == "element":
            # Powers of 4 add up to another sum for every pair of elements, by which the list keeps pairs apart.
            labels = np.power(4.0, np.searchsorted(kinds, numbers)).astype(np.float64)
        # A usual U decides how far: peaks of a larger one reach in from beyond with their last percents.
        widest = PdfConditions.uniform(1, u_iso=0.03, q_broad=settings.q_broad, q_max=q_range[1])
        pairs = tuple(pair_lists(structure, reach(grid, widest) / stretch, u_iso=labels))
        names = tuple(gemmi.Element(int(number)).name for number in kinds) if kinds[0] else ("",)
        return cls(
            structure, cell, pairs, names, _groups(pairs[0].u_sums, len(kinds)), grid, q_range, settings, stretch
        )

    @cached_property
    def r(self) -> NDArray[np.float64]:
        """Points of the fit, Å."""
        return self.grid.r

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Fit parameters in their order."""
        k, limits = len(self.cell.spans), self.cell.limits
        names = tuple(f"u_iso_{element}" if element else "u_iso" for element in self.elements)
        n = len(names)
        u_iso = Block(names, self._u_iso_start(), np.full(n, U_ISO[0]), np.full(n, U_ISO[1]), 0.003)
        found = [Block(tuple(f"x{i}" for i in range(k)), np.zeros(k), -limits, limits, 0.01), u_iso]
        motion = self.settings.correlated_motion
        if motion != "none":
            highest = self._highest_delta()
            found.append(Block.one(motion, 0.2 * highest, (0.0, highest), 0.5))
        if self.settings.size:
            found.append(Block.one("diameter", 0.01, INVERSE_DIAMETER, 0.01))
        return tuple(found)

    @property
    def n_cell(self) -> int:
        """Free parameters of the cell."""
        return len(self.cell.spans)

    def curve(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """G(r) at parameters x, without scale and damping by the instrument, shape (n,)."""
        motion, inverse = self._motion(x)
        steps = self.cell.steps(x[: self.n_cell])
        found = pdf_with_gradient(self.pairs, steps, motion, self.grid, self.q_range, derivatives=False)
        return found.g * self._sphere(inverse)[0]

    def curve_and_gradient(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The curve (n,) and its derivatives by x, shape (len(x), n)."""
        motion, inverse = self._motion(x)
        found = pdf_with_gradient(self.pairs, self.cell.steps(x[: self.n_cell]), motion, self.grid, self.q_range)
        sphere, by_inverse = self._sphere(inverse)
        by_u = np.zeros((len(self.elements), len(self.grid)))
        for one, (i, j) in zip(found.by_u_sum, self.groups, strict=True):
            by_u[i] += one
            by_u[j] += one
        rows = [self.cell.spans[:, None] * found.by_metric, by_u]
        if self.settings.correlated_motion != "none":
            rows.append(found.by_delta[None])
        gradient = np.vstack(rows) * sphere
        if self.settings.size:
            gradient = np.vstack([gradient, found.g * by_inverse])
        return found.g * sphere, gradient

    def start(self, values: Mapping[str, float] | None) -> NDArray[np.float64]:
        """Where a fit begins: at named values, as far as they are given and allowed, or the structure's own."""
        if values is None:
            return np.concatenate([block.start for block in self.blocks])
        x = [self.cell.at(values)]
        for block in self.blocks[1:]:
            given = [values.get(name, np.nan) for name in block.names]
            found = 1 / np.array(given) if block.names == ("diameter",) else np.array(given)
            x.append(np.clip(np.where(np.isnan(found), block.start, found), block.lowest, block.highest))
        return np.concatenate(x)

    def reported(self, x: NDArray[np.float64]) -> Iterator["Reported"]:
        """The values that users see, without the scale."""
        k = self.n_cell
        values, by_x = self.cell.lengths_and_angles(x[:k])
        free = independent(by_x)
        for index, (name, unit) in enumerate(zip(CELL_NAMES, CELL_UNITS, strict=True)):
            used = [int(i) for i in np.flatnonzero(by_x[index])]
            if used:
                row = np.concatenate([by_x[index], np.zeros(len(x) - k)])
                yield Reported(name, float(values[index]), unit, row, used, index in free)
        names = [name for block in self.blocks[1:] for name in block.names]
        for place, name in enumerate(names, start=k):
            value, change = float(x[place]), 1.0
            unit = "Å²" if name.startswith("u_iso") else "Å" if name == "diameter" else DELTA[name][2]
            if name == "diameter":
                value, change = (1 / value, -1 / value**2) if value > NO_LIMIT else (np.inf, 0.0)
            yield Reported(name, value, unit, change * np.eye(len(x))[place], [place], True)

    def reaching(self, x: NDArray[np.float64]) -> "Phase":
        """The phase with all pairs that are in the range in the cell of x; this one if it has them."""
        stretch = self.cell.stretch_at(x[: self.n_cell])
        if stretch >= self.stretch:
            return self
        return Phase.of(self.structure, self.grid, self.q_range, self.settings, ROOM * stretch)

    def _motion(self, x: NDArray[np.float64]) -> tuple[Motion, float]:
        k, n = self.n_cell, len(self.elements)
        u = x[k : k + n]
        rest = list(x[k + n :])
        power = DELTA[self.settings.correlated_motion][1]
        delta = rest.pop(0) if self.settings.correlated_motion != "none" else 0.0
        sums = u[self.groups[:, 0]] + u[self.groups[:, 1]]
        return Motion(sums, float(delta), power, self.settings.q_broad), float(rest[0]) if rest else 0.0

    def _sphere(self, inverse: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The envelope of a sphere, 1 - 1.5 τ + 0.5 τ³ with τ = r/D up to 1, and its derivative by 1/D."""
        if not self.settings.size:
            return _ONE, _ONE
        r = self.r
        tau = np.minimum(r * inverse, 1.0)
        return 1 - 1.5 * tau + 0.5 * tau**3, np.where(tau < 1, r * (1.5 * tau**2 - 1.5), 0.0)

    def _u_iso_start(self) -> NDArray[np.float64]:
        low, high, usual = U_ISO_START
        atoms = self.structure.unit_cell
        found = []
        for element in self.elements:
            chosen = atoms.numbers == gemmi.Element(element).atomic_number if element else np.ones(len(atoms), bool)
            known = atoms.u_iso[chosen & np.isfinite(atoms.u_iso)]
            found.append(np.clip(known.mean(), low, high) if len(known) else usual)
        return np.array(found)

    def _highest_delta(self) -> float:
        """Up to here some of the variance of the first peak is left."""
        largest, power, _ = DELTA[self.settings.correlated_motion]
        nearest = np.sqrt(min(float(one.squares.min()) for one in self.pairs if len(one)))
        nearest = max(nearest, SHORTEST_BOND) * (1 - self.settings.max_strain)
        return float(min(largest, REMAINING * nearest**power))


def _groups(u_sums: NDArray[np.float64], n_kinds: int) -> NDArray[np.int64]:
    """Which two groups of atoms each displacement class is between, shape (classes, 2)."""
    if n_kinds == 1:
        return np.zeros((len(u_sums), 2), dtype=np.int64)
    sums = {4.0**i + 4.0**j: (i, j) for i in range(n_kinds) for j in range(i, n_kinds)}
    return np.array([sums[float(one)] for one in u_sums], dtype=np.int64)
