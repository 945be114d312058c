"""Displacement parameters of a CIF block: U or B or β, isotropic or anisotropic, all as U in Å²."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.structures.cif_text import CifBlock, numbers
from hpc_mlsm.structures.structure import Cell

U_MAX = 1.0
"""Mean-square displacements (Å²) from here on are no displacements, and dropped."""

U_MEDIAN = 0.2
"""A median of U_iso (Å²) above this shows that the file's column holds B."""

Aniso = tuple[float, float, float, float, float, float]
_COMPONENTS = ("11", "22", "33", "12", "13", "23")
_TO_TENSOR = np.array([[0, 3, 4], [3, 1, 5], [4, 5, 2]])


def read_displacements(
    block: CifBlock, cell: Cell, labels: Sequence[str], note: Callable[[str, str], None]
) -> tuple[list[float | None], list[Aniso | None]]:
    """U_iso and (U11, U22, U33, U12, U13, U23) of each listed site, Å², None where unknown or implausible.

    A site with a tensor alone gets the equivalent isotropic value, by the cell's metric.

    Parameters
    ----------
    block, cell : CifBlock, Cell
        Where to read, and the axes that the tensors refer to.
    labels : sequence of str
        Labels of the sites in the order of the atom loop.
    note : callable
        Takes what was dropped and the label of the site.
    """
    stated = _isotropic(block, len(labels))
    if np.isfinite(stated).any() and np.nanmedian(stated) > U_MEDIAN:
        # Seen in real files; half of all atoms more than 0.4 Å off their sites would be a liquid.
        note("U_iso so large that they are taken as B", labels[0])
        stated = stated / (8.0 * math.pi**2)
    tensors = _anisotropic(block, cell, labels)
    given = np.logical_and.reduce(np.isfinite(tensors), axis=1)
    equivalent = equivalent_isotropic(tensors, cell)
    # A tensor's signs do not depend on the axes it is in, so a negative one is a negative mean square.
    lowest = np.linalg.eigvalsh(np.where(given[:, None], tensors, 1.0)[:, _TO_TENSOR])[:, 0]
    sound = np.asarray(given & (lowest > -1e-6) & (equivalent > 0.0) & (equivalent < U_MAX))
    u_iso = np.where(np.isnan(stated) & sound, equivalent, stated)
    plausible = np.asarray((u_iso > 0.0) & (u_iso < U_MAX))
    unknown = np.asarray(np.isnan(u_iso))
    for row, label in enumerate(labels):
        if given[row] and not sound[row]:
            note("anisotropic displacement without physical meaning, dropped", label)
        if not (plausible[row] or unknown[row]):
            note(f"displacement {u_iso[row]:.3g} Å² has no physical meaning, dropped", label)
    isotropic = [float(u) if good else None for u, good in zip(u_iso, plausible, strict=True)]
    anisotropic = [_as_tuple(row) if good else None for row, good in zip(tensors, sound, strict=True)]
    return isotropic, anisotropic


def equivalent_isotropic(u_aniso: NDArray[np.float64], cell: Cell) -> NDArray[np.float64]:
    """U_eq = ⅓ Σ_ij U_ij a*_i a*_j (a_i · a_j) of tensors (..., 6), Å².

    Source: Fischer & Tillmanns, Acta Cryst. C 44 (1988) 775. The mean of U11, U22 and U33 is this only where the
    axes are at right angles.
    """
    stars = reciprocal_lengths(cell)
    weights = np.outer(stars, stars) * cell.metric
    return np.asarray(np.sum(u_aniso[..., _TO_TENSOR] * weights, axis=(-2, -1)) / 3.0)


@lru_cache(maxsize=256)
def reciprocal_lengths(cell: Cell) -> NDArray[np.float64]:
    """Lengths a*, b*, c* (Å⁻¹, without 2π) of the reciprocal cell."""
    return np.asarray(np.sqrt(np.diag(np.linalg.inv(cell.metric))))


def _isotropic(block: CifBlock, count: int) -> NDArray[np.float64]:
    """U_iso as stated, or else B_iso / 8π²; NaN where neither is."""
    found = np.full(count, math.nan)
    scales = {"B": 1.0 / (8.0 * math.pi**2), "U": 1.0}
    for letter, scale in scales.items():
        values = numbers(block.column(f"_atom_site_{letter}_iso_or_equiv"))
        if len(values) == count:
            column = np.array([math.nan if v is None else v * scale for v in values])
            found = np.where(np.isnan(column), found, column)
    return found


def _anisotropic(block: CifBlock, cell: Cell, labels: Sequence[str]) -> NDArray[np.float64]:
    """U_ij of each site, shape (n, 6), from U_ij, B_ij = 8π² U_ij or β_ij = 2π² a*_i a*_j U_ij; NaN where none."""
    stars = reciprocal_lengths(cell)
    products = np.array([stars[int(ij[0]) - 1] * stars[int(ij[1]) - 1] for ij in _COMPONENTS])
    conventions = {
        "U_": np.ones(6),
        "B_": np.full(6, 1.0 / (8.0 * math.pi**2)),
        "beta_": 1.0 / (2.0 * math.pi**2 * products),
    }
    for prefix, scale in conventions.items():
        columns = [numbers(block.column(f"_atom_site_aniso_{prefix}{ij}")) for ij in _COMPONENTS]
        rows = len(columns[0])
        if not rows or any(len(column) != rows for column in columns):
            continue
        names: Sequence[str] = block.column("_atom_site_aniso_label")
        if len(names) != rows:
            # Without labels of its own, the tensors can only be columns of the atom loop.
            names = labels if rows == len(labels) else []
        listed = np.array([[math.nan if v is None else v for v in column] for column in columns]).T
        return _by_label(names, listed * scale, labels)
    return np.full((len(labels), 6), math.nan)


def _by_label(names: Sequence[str], tensors: NDArray[np.float64], labels: Sequence[str]) -> NDArray[np.float64]:
    """Tensors in the order of the sites. Repeated labels match in order; a lone tensor serves all of them."""
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        rows[name].append(row)
    seen: defaultdict[str, int] = defaultdict(int)
    found = np.full((len(labels), 6), math.nan)
    for index, label in enumerate(labels):
        candidates = rows.get(label, [])
        position = seen[label] if len(candidates) > 1 else 0
        seen[label] += 1
        if position < len(candidates):
            found[index] = tensors[candidates[position]]
    return found


def _as_tuple(row: NDArray[np.float64]) -> Aniso:
    u11, u22, u33, u12, u13, u23 = (float(v) for v in row)
    return u11, u22, u33, u12, u13, u23
