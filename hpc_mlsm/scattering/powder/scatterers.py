"""The atoms that a structure factor is summed over: those that centring and inversion do not give anyway."""

from dataclasses import dataclass
from functools import lru_cache

import numba
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import StructureError
from hpc_mlsm.scattering.powder.lattice import lattice_of
from hpc_mlsm.structures.structure import Structure, UnitCell
from hpc_mlsm.structures.symmetry import rotations_and_translations

_GRID = 100_000
"""Its cube times the number of sites fits 64 bits for 9000 sites."""
_COMPONENTS = np.array([[0, 3, 4], [3, 1, 5], [4, 5, 2]])


@dataclass(frozen=True)
class Scatterers:
    """A atoms, ordered by element, whose cosines and sines make the structure factor.

    ``positions`` (A, 3) are fractional, from a centre of inversion where ``centric``: then only cosines count.
    ``weights`` (A,) are occupancies times the number of atoms that one stands for. ``beta`` (A, 6) are the terms 11,
    22, 33, 12, 13, 23 of exp(-Σ β_ij h_i h_j). Atoms of element ``numbers[e]`` are those from ``offsets[e]`` up to
    ``offsets[e + 1]``.
    """

    positions: NDArray[np.float64]
    weights: NDArray[np.float64]
    beta: NDArray[np.float64]
    numbers: NDArray[np.int64]
    offsets: NDArray[np.int64]
    centric: bool

    def __len__(self) -> int:
        return len(self.weights)


def scatterers(structure: Structure, u_iso: float) -> Scatterers:
    """Atoms of one structure.

    Parameters
    ----------
    structure : Structure
    u_iso : float
        Displacement parameter (Å²) of sites for which the structure gives none.

    Raises
    ------
    StructureError
        ``no_scattering`` if no site is occupied; and what the expansion of the cell raises.
    """
    atoms = structure.unit_cell
    occupied = np.flatnonzero(atoms.occupancy > 0)
    if not len(occupied):
        raise StructureError("no_scattering", f"{structure.id}: no site is occupied, so nothing scatters")
    positions, chosen, counts, centric = _representatives(structure, atoms, occupied)
    order = np.argsort(atoms.numbers[chosen], kind="stable")
    chosen = chosen[order]
    numbers, first = np.unique(atoms.numbers[chosen], return_index=True)
    return Scatterers(
        positions=positions[order],
        weights=(atoms.occupancy[chosen] * counts[order]).astype(np.float64),
        beta=2 * np.pi**2 * _displacements(structure, atoms, u_iso)[chosen],
        numbers=numbers,
        offsets=np.append(first, len(chosen)).astype(np.int64),
        centric=centric,
    )


def _representatives(
    structure: Structure, atoms: UnitCell, occupied: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], bool]:
    """Positions, atoms, how many each stands for, and whether the positions are from a centre of inversion."""
    shifts, centre = _translations_and_centre(structure.operations)
    centric = centre is not None
    fractional = atoms.fractional[occupied] - (0.0 if centre is None else centre)
    first, counts = _classes(fractional, atoms.site[occupied], shifts, centric)
    if (counts % len(shifts)).any() or counts.max() > len(shifts) * (1 + centric):
        # Coordinates that rounding splits differently for equivalent atoms: sum over all of them instead.
        return atoms.fractional[occupied], occupied, np.ones(len(occupied), dtype=np.int64), False
    return fractional[first], occupied[first], counts, centric


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _classes(fractional, site, shifts, centric):  # type: ignore[no-untyped-def]
    """One atom of each class, and how many are in it; atoms of a class have an image in common.

    The image with the smallest key names the class. The shift keeps rational coordinates off the edges of the grid.
    """
    keys = np.empty(len(fractional), np.int64)
    for n in range(len(fractional)):
        keys[n] = np.int64(1) << 62
        for m in range(len(shifts)):
            for sign in range(2 if centric else 1):
                key = np.int64(0)
                for axis in range(2, -1, -1):
                    x = (1 - 2 * sign) * fractional[n, axis] + shifts[m, axis]
                    cell = np.int64(np.round((x - np.floor(x)) * _GRID + 0.2357111317)) % _GRID
                    key = key * _GRID + cell
                keys[n] = min(keys[n], key)
        keys[n] += site[n] * _GRID**3
    order = np.argsort(keys, kind="mergesort")
    first = np.empty(len(keys), np.int64)
    counts = np.zeros(len(keys), np.int64)
    classes = 0
    for n in range(len(keys)):
        if n == 0 or keys[order[n]] != keys[order[n - 1]]:
            first[classes] = order[n]
            classes += 1
        counts[classes - 1] += 1
    return first[:classes].copy(), counts[:classes].copy()


@lru_cache(maxsize=512)
def _translations_and_centre(
    operations: tuple[str, ...],
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Lattice translations of the centring, shape (n, 3), and a centre of inversion if there is one."""
    rotations, translations = rotations_and_translations(operations)
    pure = np.abs(rotations - np.eye(3)).max(axis=(1, 2)) < 1e-6
    inverting = np.flatnonzero(np.abs(rotations + np.eye(3)).max(axis=(1, 2)) < 1e-6)
    return translations[pure], translations[inverting[0]] / 2 if len(inverting) else None


def _displacements(structure: Structure, atoms: UnitCell, u_iso: float) -> NDArray[np.float64]:
    """U* of every atom, shape (N, 6), for exp(-2π² hᵀ U* h).

    Tensors are turned by the operation that makes the atom, after averaging over those that leave the first atom of
    the site in place, as its symmetry demands and rounded values may not obey.
    """
    lattice = lattice_of(structure)
    reciprocal = lattice.reciprocal
    given = np.where(np.isnan(atoms.u_iso), u_iso, atoms.u_iso)
    u_star = given[:, None, None] * reciprocal
    if any(site.u_aniso is not None for site in structure.sites):
        rotations, translations = rotations_and_translations(structure.operations)
        stars = np.sqrt(np.diag(reciprocal))
        begins = np.searchsorted(atoms.site, np.arange(len(structure.sites) + 1))
        for index, site in enumerate(structure.sites):
            if site.u_aniso is None:
                continue
            members = slice(begins[index], begins[index + 1])
            tensor = np.asarray(site.u_aniso)[_COMPONENTS] * np.outer(stars, stars)
            first = atoms.fractional[begins[index]]
            moved = rotations @ first + translations - first
            moved -= np.round(moved)
            kept = rotations[np.einsum("ni,ij,nj->n", moved, lattice.metric, moved) < 1e-6]
            tensor = np.mean(kept @ tensor @ kept.transpose(0, 2, 1), axis=0)
            turns = rotations[atoms.operation[members]]
            u_star[members] = turns @ tensor @ turns.transpose(0, 2, 1)
    return np.asarray(u_star[:, [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]])
