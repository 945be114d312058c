"""Unique reflections of a structure: one of each set that symmetry makes equal, without absent ones."""

from dataclasses import dataclass
from functools import lru_cache

import numba
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import StructureError
from hpc_mlsm.scattering.powder.lattice import lattice_of
from hpc_mlsm.structures.structure import Structure
from hpc_mlsm.structures.symmetry import rotations_and_translations

MAX_REFLECTIONS = 4e6
"""In the sphere of reflection, symmetry-equivalent ones counted; a cell of a million Å³ under Cu Kα."""

_DEN = 24
"""Translations are multiples of 1/24, as in gemmi."""


@dataclass(frozen=True)
class Reflections:
    """R unique reflections, ordered by h, k, l: indices (R, 3) and how many are equivalent to each (R,)."""

    hkl: NDArray[np.int64]
    multiplicity: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.hkl)


def list_reflections(structure: Structure, d_min: float) -> Reflections:
    """Unique reflections with lattice spacings of at least ``d_min`` (Å).

    Friedel mates count as equivalent. A reflection is absent if an operation maps it onto itself with a phase; centring
    is a case of that. The representative is the one with the largest (h, k, l).

    Raises
    ------
    StructureError
        ``bad_cell`` if the cell is flat, ``too_many_reflections`` with the figure, ``no_reflections`` if there is none,
        ``site_symmetry`` if an operation is not a whole-numbered one in these axes.
    """
    lattice = lattice_of(structure)
    refuse_too_many(structure, d_min)
    rotations, translations, laue, centring = _whole_numbers(structure.operations)
    hkl, multiplicity = _list_unique(
        lattice.reciprocal, lattice.metric, 1 / d_min**2, laue, centring, rotations, translations
    )
    if not len(hkl):
        raise StructureError(
            "no_reflections",
            f"{structure.id}: no reflection has a lattice spacing of {d_min:.3g} Å or more in the cell "
            f"{structure.cell.parameters}; raise two_theta_max or lower the wavelength",
        )
    return Reflections(hkl, multiplicity)


def sphere_count(volume: float, d_min: float) -> float:
    """Reflections of a primitive cell (Å³) down to a lattice spacing (Å), equivalent ones counted."""
    return 4 / 3 * np.pi * volume / d_min**3


def refuse_too_many(structure: Structure, d_min: float) -> None:
    """Raise ``too_many_reflections`` for a cell so large that its reflections fit neither memory nor reason."""
    volume = lattice_of(structure).volume
    count = sphere_count(volume, d_min)
    if count > MAX_REFLECTIONS:
        raise StructureError(
            "too_many_reflections",
            f"{structure.id}: a cell of {volume:.3g} Å³ has about {count:.2g} reflections down to "
            f"{d_min:.3g} Å, at most {MAX_REFLECTIONS:.0g} are computed; lower two_theta_max, or leave it out",
        )


def inverse_squares(hkl: NDArray[np.int64], reciprocal: NDArray[np.float64]) -> NDArray[np.float64]:
    """1/d² (Å⁻²) of reflections (R, 3), from the metric tensor of the reciprocal lattice."""
    indices = hkl.astype(float)
    return np.asarray(((indices @ reciprocal) * indices).sum(axis=1))


def laue_rotations(structure: Structure) -> NDArray[np.int64]:
    """Rotations that make reflections equivalent, one of each pair R and -R, shape (n, 3, 3); hkl rows times R."""
    both = _whole_numbers(structure.operations)[2]
    # Of R and -R the first nonzero entry of the first row decides.
    leading = both[np.arange(len(both)), 0, np.argmax(both[:, 0] != 0, axis=1)]
    return np.ascontiguousarray(both[leading > 0])


@lru_cache(maxsize=512)
def _whole_numbers(operations: tuple[str, ...]) -> tuple[NDArray[np.int64], ...]:
    """Rotations, translations in 24ths, the distinct rotations R and -R, and the translations of the centring."""
    rotations, translations = rotations_and_translations(operations)
    whole = np.round(rotations).astype(np.int64)
    if np.abs(whole - rotations).max() > 1e-6:
        raise StructureError("site_symmetry", "a symmetry operation has fractional rotation terms in these axes")
    laue = np.unique(np.concatenate([whole, -whole]), axis=0)
    steps = np.round(translations * _DEN).astype(np.int64)
    pure = (whole == np.eye(3, dtype=np.int64)).all(axis=(1, 2)) & steps.any(axis=1)
    return whole, steps, laue, np.ascontiguousarray(steps[pure])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _list_unique(reciprocal, metric, limit, laue, centring, rotations, translations):  # type: ignore[no-untyped-def]
    """Indices and multiplicities of unique reflections with 1/d² up to ``limit``; ``reciprocal`` is G*."""
    found = np.empty((256, 3), np.int64)
    counts = np.empty(256, np.int64)
    n = 0
    h_max = int(np.sqrt(limit * metric[0, 0]) + 1e-9)
    k_max = int(np.sqrt(limit * metric[1, 1]) + 1e-9)
    g33 = reciprocal[2, 2]
    for h in range(h_max + 1):
        for k in range(0 if h == 0 else -k_max, k_max + 1):
            linear = reciprocal[0, 2] * h + reciprocal[1, 2] * k
            constant = reciprocal[0, 0] * h * h + 2 * reciprocal[0, 1] * h * k + reciprocal[1, 1] * k * k
            root = linear * linear - g33 * (constant - limit)
            if root < 0:
                continue
            l_min = int(np.ceil((-linear - np.sqrt(root)) / g33 - 1e-9))
            l_max = int(np.floor((-linear + np.sqrt(root)) / g33 + 1e-9))
            if h == 0 and k == 0:
                l_min = 1
            for l in range(l_min, l_max + 1):  # noqa: E741
                centred = True
                for m in range(len(centring)):
                    if (h * centring[m, 0] + k * centring[m, 1] + l * centring[m, 2]) % _DEN != 0:
                        centred = False
                if not centred:
                    continue
                multiplicity = _multiplicity(h, k, l, laue)
                if multiplicity == 0 or _absent(h, k, l, rotations, translations):
                    continue
                if n == len(found):
                    found = np.concatenate((found, np.empty_like(found)))
                    counts = np.concatenate((counts, np.empty_like(counts)))
                found[n, 0], found[n, 1], found[n, 2] = h, k, l
                counts[n] = multiplicity
                n += 1
    return found[:n].copy(), counts[:n].copy()


@numba.njit(cache=True, nogil=True)
def _multiplicity(h, k, l, laue):  # type: ignore[no-untyped-def]  # noqa: E741
    """Number of equivalents, or 0 if one of them is larger than (h, k, l)."""
    fixed = 0
    for g in range(len(laue)):
        difference = h * laue[g, 0, 0] + k * laue[g, 1, 0] + l * laue[g, 2, 0] - h
        if difference == 0:
            difference = h * laue[g, 0, 1] + k * laue[g, 1, 1] + l * laue[g, 2, 1] - k
            if difference == 0:
                difference = h * laue[g, 0, 2] + k * laue[g, 1, 2] + l * laue[g, 2, 2] - l
        if difference > 0:
            return 0
        if difference == 0:
            fixed += 1
    return len(laue) // fixed


@numba.njit(cache=True, nogil=True)
def _absent(h, k, l, rotations, translations):  # type: ignore[no-untyped-def]  # noqa: E741
    """Whether an operation maps the reflection onto itself with another phase."""
    for g in range(len(rotations)):
        if (h * translations[g, 0] + k * translations[g, 1] + l * translations[g, 2]) % _DEN == 0:
            continue
        r = rotations[g]
        if (
            h * r[0, 0] + k * r[1, 0] + l * r[2, 0] == h
            and h * r[0, 1] + k * r[1, 1] + l * r[2, 1] == k
            and h * r[0, 2] + k * r[1, 2] + l * r[2, 2] == l
        ):
            return True
    return False
