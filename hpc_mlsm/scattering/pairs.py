"""Lists of atom pairs: what of a structure's pair distances does not change when its cell is strained."""

from collections.abc import Iterator
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import StructureError
from hpc_mlsm.structures.structure import Structure
from hpc_mlsm.structures.symmetry import invariant_metrics, metric_coefficients

SAME_POSITION = 1e-2
"""Atoms closer than this (Å) share one site (mixed occupancy) and are no pair."""

MERGE_TOLERANCE = 1e-4
"""Pairs whose invariants, scaled to Å², round to the same multiple of this are one entry of the list."""


MAX_PAIRS = 2e6
"""Pairs that one list may hold before merging."""


@dataclass(frozen=True)
class PairList:
    """Distinct atom pairs of one structure.

    A pair m has the squared distance ``sum_k p_k invariants[k, m]`` in any cell with metric coefficients p (Å²). Its
    weight is the sum of o_i o_j f_i f_j over all equivalent ordered pairs of one cell, divided by N<f>²; its
    displacement class says which entry of ``u_sums`` (U_i + U_j, Å²) belongs to it.
    """

    invariants: NDArray[np.float32]
    weights: NDArray[np.float32]
    classes: NDArray[np.int32]
    u_sums: NDArray[np.float64]
    basis: NDArray[np.float64]
    metric: NDArray[np.float64]
    n_atoms: float
    r_cut: float

    def metrics(self, axis_scales: NDArray[np.float64]) -> NDArray[np.float64]:
        """Metric tensors (V, 3, 3), Å², of the cell with a, b and c multiplied by the factors (V, 3)."""
        return axis_scales[:, :, None] * self.metric * axis_scales[:, None, :]

    def coefficients(self, axis_scales: NDArray[np.float64]) -> NDArray[np.float64]:
        """Metric coefficients p, shape (V, K), Å², of those cells."""
        return metric_coefficients(self.metrics(axis_scales), self.basis)

    def __len__(self) -> int:
        return len(self.weights)


def pair_list(
    structure: Structure,
    r_cut: float,
    amplitudes: NDArray[np.float64] | None = None,
    u_iso: NDArray[np.float64] | None = None,
) -> PairList:
    """All pairs of one structure as one list; see ``pair_lists``."""
    (pairs,) = pair_lists(structure, r_cut, amplitudes, u_iso, max_pairs=np.inf)
    return pairs


def pair_lists(
    structure: Structure,
    r_cut: float,
    amplitudes: NDArray[np.float64] | None = None,
    u_iso: NDArray[np.float64] | None = None,
    max_pairs: float = MAX_PAIRS,
) -> Iterator[PairList]:
    """Pairs of one structure out to a distance, in one list or, for a very large cell, in several.

    Symmetry is used twice: pairs are listed from one atom of each site only, and pairs that stay equally long under
    every strain that symmetry allows are merged, so that the 10⁵ neighbours of a cubic structure become a few hundred.

    Parameters
    ----------
    structure : Structure
    r_cut : float
        Largest distance in the unstrained cell, Å.
    amplitudes : array (N,), optional
        Scattering amplitude f of each atom of the cell; the atomic numbers (X-rays at Q = 0) by default.
    u_iso : array (N,), optional
        Isotropic displacement parameter of each atom, Å². Without it all pairs are of one class, with U left to
        the caller; atoms of one site must have one value.
    max_pairs : float
        Bound on the pairs of one list before merging, which bounds memory at about 150 bytes each.

    Raises
    ------
    StructureError
        If the amplitudes cancel, so that the PDF has no scale.
    """
    atoms = structure.unit_cell
    f = atoms.numbers.astype(float) if amplitudes is None else np.asarray(amplitudes, dtype=float)
    scatterers = atoms.occupancy * f
    if abs(scatterers.sum()) <= 1e-6 * np.abs(scatterers).sum():
        raise StructureError("no_scattering", f"{structure.id}: the scattering amplitudes add up to zero")
    classes, u_sums = _displacement_classes(atoms.site, u_iso)
    basis = invariant_metrics(structure.operations)
    coefficients = metric_coefficients(structure.cell.metric, basis)
    metric = np.tensordot(coefficients, basis, axes=1)
    upper = np.linalg.cholesky(metric).T
    n_sites = int(atoms.site[-1]) + 1
    n_atoms = float(atoms.occupancy.sum())
    for sites in _batches_of_sites(n_sites, len(atoms) * 4.19 * r_cut**3 / np.prod(np.diag(upper)), max_pairs):
        invariants, weights, pair_classes = _enumerate(
            atoms.fractional,
            atoms.site,
            np.searchsorted(atoms.site, sites),
            np.bincount(atoms.site)[sites].astype(float),
            scatterers,
            classes,
            upper,
            basis,
            coefficients / MERGE_TOLERANCE,
            float(r_cut),
        )
        yield PairList(
            invariants=np.ascontiguousarray(invariants.T, dtype=np.float32),
            weights=(weights * n_atoms / scatterers.sum() ** 2).astype(np.float32),
            classes=pair_classes,
            u_sums=u_sums,
            basis=basis,
            metric=metric,
            n_atoms=n_atoms,
            r_cut=float(r_cut),
        )


def _batches_of_sites(n_sites: int, neighbours: float, max_pairs: float) -> list[NDArray[np.int64]]:
    n_batches = min(n_sites, max(1, int(np.ceil(n_sites * neighbours / max_pairs))))
    return np.array_split(np.arange(n_sites), n_batches)


def _displacement_classes(
    site: NDArray[np.int64], u_iso: NDArray[np.float64] | None
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Class of each pair of sites, shape (sites, sites), and the sum U_i + U_j of each class."""
    n_sites = int(site[-1]) + 1
    if u_iso is None:
        return np.zeros((n_sites, n_sites), dtype=np.int32), np.zeros(1)
    per_site = np.asarray(u_iso, dtype=float)[np.searchsorted(site, np.arange(n_sites))]
    u_sums, inverse = np.unique(np.round(per_site[:, None] + per_site[None, :], 9), return_inverse=True)
    return inverse.reshape(n_sites, n_sites).astype(np.int32), u_sums


@numba.njit(cache=True, nogil=True)
def _enumerate(fractional, site, representatives, multiplicity, scatterers, classes, upper, basis, scale, r_cut):  # type: ignore[no-untyped-def]
    """Walk the pairs from one atom of each site to all atoms of the same or a later site, merging equal ones."""
    reach = r_cut + np.sqrt((upper.sum(axis=1) ** 2).sum())
    volume = upper[0, 0] * upper[1, 1] * upper[2, 2]
    deltas = np.empty((int(4.2 * (reach + upper.max()) ** 3 / volume) + 64, 3))
    room = 1 << 12
    invariants = np.empty((room, len(basis)))
    keys = np.empty((room, len(basis) + 1), np.int64)
    weights = np.empty(room)
    table = np.full(2 * room, -1, np.int64)
    count = 0
    for s in range(len(representatives)):
        i = representatives[s]
        own = site[i]
        for j in range(i, len(site)):
            found = _lattice_neighbours(fractional[j] - fractional[i], upper, r_cut, deltas)
            if count + found > room:
                while count + found > room:
                    room *= 2
                invariants, keys, weights = (
                    _grown(invariants, room),
                    _grown(keys, room),
                    _grown(weights, room),
                )
                table = _rehashed(keys, count, 2 * room)
            weight = multiplicity[s] * scatterers[i] * scatterers[j] * (1.0 if site[j] == own else 2.0)
            count = _merge(
                deltas[:found],
                weight,
                classes[own, site[j]],
                basis,
                scale,
                invariants,
                keys,
                weights,
                table,
                count,
            )
    return invariants[:count].copy(), weights[:count].copy(), keys[:count, -1].astype(np.int32)


@numba.njit(cache=True, nogil=True)
def _lattice_neighbours(difference, upper, r_cut, deltas):  # type: ignore[no-untyped-def]
    """Fill ``deltas`` with difference + lattice vector for all lengths in (SAME_POSITION, r_cut]; how many there are.

    ``upper`` is the upper-triangular matrix that takes fractional to Cartesian coordinates, so that the third
    coordinate bounds the loop over the third index alone, and so on: no vector outside the sphere is visited.
    """
    found = 0
    z_span = r_cut / upper[2, 2]
    for w in range(int(np.ceil(-z_span - difference[2])), int(np.floor(z_span - difference[2])) + 1):
        dw = difference[2] + w
        z = upper[2, 2] * dw
        y_span = np.sqrt(max(r_cut * r_cut - z * z, 0.0)) / upper[1, 1]
        y_mid = -upper[1, 2] * dw / upper[1, 1] - difference[1]
        for v in range(int(np.ceil(y_mid - y_span)), int(np.floor(y_mid + y_span)) + 1):
            dv = difference[1] + v
            y = upper[1, 1] * dv + upper[1, 2] * dw
            x_span = np.sqrt(max(r_cut * r_cut - z * z - y * y, 0.0)) / upper[0, 0]
            x_mid = -(upper[0, 1] * dv + upper[0, 2] * dw) / upper[0, 0] - difference[0]
            for u in range(int(np.ceil(x_mid - x_span)), int(np.floor(x_mid + x_span)) + 1):
                du = difference[0] + u
                x = upper[0, 0] * du + upper[0, 1] * dv + upper[0, 2] * dw
                if x * x + y * y + z * z > SAME_POSITION * SAME_POSITION:
                    deltas[found, 0] = du
                    deltas[found, 1] = dv
                    deltas[found, 2] = dw
                    found += 1
    return found


@numba.njit(cache=True, nogil=True)
def _merge(deltas, weight, pair_class, basis, scale, invariants, keys, weights, table, count):  # type: ignore[no-untyped-def]
    """Add pairs to the list, or to the entry that has the same invariants and class; the new length of the list."""
    n_free = len(basis)
    key = np.empty(n_free + 1, np.int64)
    key[n_free] = pair_class
    values = np.empty(n_free)
    for n in range(len(deltas)):
        x, y, z = deltas[n, 0], deltas[n, 1], deltas[n, 2]
        for k in range(n_free):
            b = basis[k]
            values[k] = (
                b[0, 0] * x * x
                + b[1, 1] * y * y
                + b[2, 2] * z * z
                + 2.0 * (b[0, 1] * x * y + b[0, 2] * x * z + b[1, 2] * y * z)
            )
            key[k] = np.int64(np.round(values[k] * scale[k]))
        slot = _find(keys, table, key)
        entry = table[slot]
        if entry < 0:
            table[slot] = entry = count
            keys[entry] = key
            invariants[entry] = values
            weights[entry] = 0.0
            count += 1
        weights[entry] += weight
    return count


@numba.njit(cache=True, nogil=True)
def _find(keys, table, key):  # type: ignore[no-untyped-def]
    """Slot of the open-addressing table that holds the key, or the empty one where it belongs."""
    mixed = np.uint64(0x2545F4914F6CDD1D)
    for part in key:
        mixed = (mixed ^ np.uint64(part)) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    mask = np.uint64(len(table) - 1)
    slot = mixed & mask
    while True:
        entry = table[slot]
        if entry < 0:
            return slot
        same = True
        for k in range(len(key)):
            if keys[entry, k] != key[k]:
                same = False
                break
        if same:
            return slot
        slot = (slot + np.uint64(1)) & mask


@numba.njit(cache=True, nogil=True)
def _grown(array, room):  # type: ignore[no-untyped-def]
    grown = np.empty((room, *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown


@numba.njit(cache=True, nogil=True)
def _rehashed(keys, count, capacity):  # type: ignore[no-untyped-def]
    table = np.full(capacity, -1, np.int64)
    for entry in range(count):
        table[_find(keys, table, keys[entry])] = entry
    return table
