"""Lines of a structure: reflections and intensities, those that coincide in every allowed cell taken together."""

from dataclasses import dataclass
from functools import lru_cache

import numba
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import StructureError
from hpc_mlsm.scattering.powder.form_factors import FormFactorTable, form_factors
from hpc_mlsm.scattering.powder.lattice import lattice_of
from hpc_mlsm.scattering.powder.reflections import laue_rotations, list_reflections
from hpc_mlsm.scattering.powder.scatterers import scatterers
from hpc_mlsm.scattering.powder.structure_factors import squared_structure_factors
from hpc_mlsm.scattering.powder.texture import squared_cosines
from hpc_mlsm.structures.structure import Structure
from hpc_mlsm.structures.symmetry import axis_classes

MERGE_TOLERANCE = 1e-9
"""Reflections are one line where their 1/d² differ by less than this share, in the cell and in a strained one."""

_WEAKEST = 1e-20
"""Share of the largest intensity below which a reflection is a rounding error of zero."""


@dataclass(frozen=True)
class Lines:
    """L lines of R reflections.

    Line i has the indices ``hkl[i]`` and is the sum of the reflections from ``offsets[i]`` up to ``offsets[i + 1]``,
    whose ``intensities`` (R,) are multiplicity × |F|² / V² in electrons² Å⁻⁶, without Lorentz and polarisation factors.
    ``cosines`` (axes, R, equivalents) are the cos² of the angles between equivalents and texture axes.
    ``reciprocal`` is the metric tensor of the reciprocal lattice, Å⁻².
    """

    hkl: NDArray[np.int64]
    offsets: NDArray[np.int64]
    intensities: NDArray[np.float64]
    cosines: NDArray[np.float64]
    reciprocal: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.hkl)


def list_lines(
    structure: Structure,
    d_min: float,
    *,
    u_iso: float,
    wavelength: float | None = None,
    axes: tuple[tuple[int, int, int], ...] = (),
    table: FormFactorTable = form_factors,
) -> Lines:
    """Lines of a structure with lattice spacings of at least ``d_min`` (Å).

    Parameters
    ----------
    structure : Structure
    d_min : float
    u_iso : float
        Displacement parameter (Å²) of sites for which the structure gives none.
    wavelength : float, optional
        Å; with it dispersion is taken into account.
    axes : tuple
        Plane normals (h, k, l) about which crystallites may be oriented.
    table : callable
        Gives f0 of elements at (sin θ/λ)²; ``form_factors`` or one like it.

    Raises
    ------
    StructureError
        What ``list_reflections``, ``scatterers`` and ``squared_structure_factors`` raise; ``no_scattering`` if all
        reflections in the range are extinct.
    """
    reflections = list_reflections(structure, d_min)
    lattice = lattice_of(structure)
    reciprocal = lattice.reciprocal
    atoms = scatterers(structure, u_iso)
    squares = squared_structure_factors(structure.id, reflections, atoms, reciprocal, wavelength, table)
    intensities = reflections.multiplicity * squares / lattice.volume**2
    strongest = intensities.max()
    if not strongest > 0:
        raise StructureError("no_scattering", f"{structure.id}: all {len(reflections)} reflections are extinct")
    order = np.flatnonzero(intensities > _WEAKEST * strongest)
    classes = _axis_classes(structure.operations)
    if max(classes) < 2:
        # Unequal factors on all lengths that symmetry does not tie.
        factors = _UNLIKE[list(classes)]
        order, offsets = _coinciding(reflections.hkl, order, reciprocal, reciprocal / np.outer(factors, factors))
    else:  # with three free lengths only equivalent reflections coincide for good
        offsets = np.arange(len(order) + 1)
    hkl = reflections.hkl[order]
    return Lines(
        hkl=hkl[offsets[:-1]],
        offsets=offsets,
        intensities=intensities[order],
        cosines=squared_cosines(hkl, axes, laue_rotations(structure) if axes else _NONE, reciprocal),
        reciprocal=reciprocal,
    )


_UNLIKE = 1 + np.array([0.0, 0.0379, 0.0713])
_NONE = np.zeros((0, 3, 3), dtype=np.int64)

_axis_classes = lru_cache(maxsize=4096)(axis_classes)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _coinciding(hkl, chosen, reciprocal, strained):  # type: ignore[no-untyped-def]
    """The chosen rows of hkl in an order that puts those of one line together, and where lines begin, end appended."""
    keys = np.empty((2, len(chosen)), np.int64)
    for axis, metric in enumerate((reciprocal, strained)):
        squares = np.empty(len(chosen))
        for n in range(len(chosen)):
            h, k, l = hkl[chosen[n], 0], hkl[chosen[n], 1], hkl[chosen[n], 2]  # noqa: E741
            squares[n] = h * h * metric[0, 0] + k * k * metric[1, 1] + l * l * metric[2, 2]
            squares[n] += 2 * (h * k * metric[0, 1] + h * l * metric[0, 2] + k * l * metric[1, 2])
        unit = MERGE_TOLERANCE * squares.max()
        for n in range(len(chosen)):
            keys[axis, n] = np.int64(np.round(squares[n] / unit))
    by_strained = np.argsort(keys[1], kind="mergesort")
    order = by_strained[np.argsort(keys[0][by_strained], kind="mergesort")]
    offsets = np.empty(len(chosen) + 1, np.int64)
    lines = 0
    for n in range(len(chosen)):
        here, before = order[n], order[n - 1]
        if n == 0 or keys[0, here] != keys[0, before] or keys[1, here] != keys[1, before]:
            offsets[lines] = n
            lines += 1
    offsets[lines] = len(chosen)
    return chosen[order], offsets[: lines + 1].copy()
