"""Cells of made-up crystals, and the distances that a made-up crystal must have."""

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.structures.structure import Cell, Structure

CLOSEST = 0.85
"""Least distance of two atoms in sums of their covalent radii."""

MOST_STRETCH = 1.2
"""A cell is not stretched by more than this to keep atoms apart; other places are tried instead."""

SYMPREC = 1e-3
"""Tolerance (Å) of spglib, far below any distance between atoms and far above rounding."""


def drawn_cell(rng: np.random.Generator, system: str, volume: float) -> Cell:
    """A cell of this volume (Å³), its shape drawn within what the crystal system allows."""
    a, b, c = np.exp(rng.normal(0.0, 0.3, 3))
    alpha = beta = gamma = 90.0
    if system == "triclinic":
        alpha, beta, gamma = np.round(rng.uniform(70.0, 110.0, 3), 3)
    elif system == "monoclinic":
        beta = round(float(rng.uniform(90.5, 120.0)), 3)
    elif system in ("trigonal", "hexagonal"):
        gamma = 120.0
    if system in ("tetragonal", "trigonal", "hexagonal", "cubic"):
        b = a
    if system == "cubic":
        c = a
    shape = Cell(float(a), float(b), float(c), float(alpha), float(beta), float(gamma))
    scale = (volume / shape.volume) ** (1.0 / 3.0)
    lengths = [round(scale * float(length), 4) for length in (a, b, c)]
    return Cell(lengths[0], lengths[1], lengths[2], shape.alpha, shape.beta, shape.gamma)


_SHIFTS = np.stack(np.meshgrid(*[np.array([-1.0, 0.0, 1.0])] * 3, indexing="ij"), axis=-1).reshape(-1, 3)


def closest_contact(structure: Structure, radii: NDArray[np.float64]) -> float:
    """Shortest distance between atoms in sums of their radii, which ``radii`` (Å) gives by site; periodic images count.

    Cells whose angles lie between 60 and 120° are assumed: all nearest images are then in the cells around.
    """
    atoms = structure.unit_cell
    first = np.flatnonzero(np.diff(atoms.site, prepend=-1))
    delta = atoms.fractional[None] - atoms.fractional[first][:, None]
    delta -= np.round(delta)
    images = delta[:, :, None] + _SHIFTS
    squared = np.einsum("ijsk,kl,ijsl->ijs", images, structure.cell.metric, images)
    squared[squared < 1e-6] = np.inf  # an atom and itself
    sums = radii[atoms.site[first]][:, None] + radii[atoms.site][None]
    return float((np.sqrt(squared.min(axis=2)) / sums).min())


def needed_stretch(structure: Structure, radii: NDArray[np.float64]) -> float | None:
    """Factor on the axes that brings all atoms far enough apart; None where it would be too large."""
    closest = closest_contact(structure, radii)
    needed = CLOSEST * 1.001 / closest if closest > 0 else np.inf
    return max(1.0, float(needed)) if needed <= MOST_STRETCH else None
