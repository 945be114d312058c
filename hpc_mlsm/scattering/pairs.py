"""Lists of atom pairs: what of a structure's pair distances does not change when its cell is strained."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import ConfigError, StructureError
from hpc_mlsm.scattering.neighbours import enumerate_pairs
from hpc_mlsm.structures.structure import Structure, UnitCell
from hpc_mlsm.structures.symmetry import invariant_metrics, metric_coefficients

MERGE_TOLERANCE = 1e-4
"""Pairs whose invariants, scaled to Å², round to the same multiple of this are one entry of the list."""

MAX_PAIRS = 2e6
"""Pairs that one list may hold before merging."""


@dataclass(frozen=True)
class PairList:
    """Distinct atom pairs of one structure.

    Pair m has the squared distance ``squares[m]`` (Å²), and ``squares[m] + sum_k steps_k invariants[k, m]`` in a
    strained cell; see ``steps``. Its weight is the sum of o_i o_j f_i f_j over all equivalent ordered pairs of one
    cell, divided by N<f>². Pairs of displacement class c are those from ``offsets[c]`` up to ``offsets[c + 1]``, and
    ``u_sums[c]`` is their U_i + U_j, in Å²; where no U were given, it is 2, in units of the variants' U.
    """

    squares: NDArray[np.float32]
    invariants: NDArray[np.float32]
    weights: NDArray[np.float32]
    offsets: NDArray[np.int64]
    u_sums: NDArray[np.float64]
    basis: NDArray[np.float64]
    metric: NDArray[np.float64]
    n_atoms: float
    r_cut: float

    def metrics(self, axis_scales: NDArray[np.float64]) -> NDArray[np.float64]:
        """Metric tensors (V, 3, 3), Å², of the cell with a, b and c multiplied by the factors (V, 3)."""
        return axis_scales[:, :, None] * self.metric * axis_scales[:, None, :]

    def steps(self, axis_scales: NDArray[np.float64]) -> NDArray[np.float64]:
        """Change of the metric coefficients, shape (V, K), Å², when a, b and c are multiplied by the factors (V, 3).

        Raises
        ------
        ConfigError
            If the factors break the symmetry, so that equivalent pairs would no longer be equally long.
        """
        changes = self.metrics(axis_scales) - self.metric
        steps = metric_coefficients(changes, self.basis)
        misfit = np.abs(np.tensordot(steps, self.basis, axes=1) - changes).max()
        if misfit > 1e-6 * np.abs(self.metric).max():
            raise ConfigError("the factors on a, b and c break the symmetry; give tied axes the same factor")
        return steps

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
        Bound on the pairs of one list before merging, which bounds memory at about 100 bytes each.

    Raises
    ------
    StructureError
        If the amplitudes cancel, so that the PDF has no scale, if a U_iso is not above zero, or if the cell is flat.
    """
    atoms = structure.unit_cell
    f = atoms.numbers.astype(float) if amplitudes is None else np.asarray(amplitudes, dtype=float)
    scatterers = atoms.occupancy * f
    if abs(scatterers.sum()) <= 1e-6 * np.abs(scatterers).sum():
        raise StructureError("no_scattering", f"{structure.id}: the scattering amplitudes add up to zero")
    basis, metric, upper = _axes(structure)
    classes, u_sums = _displacement_classes(structure.id, atoms.site, u_iso)
    tolerance = MERGE_TOLERANCE / _at_least_a_hundredth(np.abs(metric_coefficients(metric, basis)))
    n_atoms = float(atoms.occupancy.sum())
    images = max(4.19 * r_cut**3 / float(np.prod(np.diag(upper))), 1.0)
    for differences, weights, pair_classes, repeating in _atom_pairs(
        atoms, scatterers, classes, len(structure.operations), max_pairs / images
    ):
        squares, invariants, sums, labels = enumerate_pairs(
            differences, weights, pair_classes, repeating, upper, basis, tolerance, float(r_cut)
        )
        yield PairList(
            squares=squares,
            invariants=invariants,
            weights=(sums * n_atoms / scatterers.sum() ** 2).astype(np.float32),
            offsets=np.searchsorted(labels, np.arange(len(u_sums) + 1)),
            u_sums=u_sums,
            basis=basis,
            metric=metric,
            n_atoms=n_atoms,
            r_cut=float(r_cut),
        )


def _axes(structure: Structure) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Invariant metrics, the cell's metric without what symmetry forbids, and its upper-triangular square root."""
    basis = invariant_metrics(structure.operations)
    metric = np.tensordot(metric_coefficients(structure.cell.metric, basis), basis, axes=1)
    if np.linalg.eigvalsh(metric).min() <= 1e-9 * np.abs(metric).max():
        raise StructureError("bad_cell", f"{structure.id}: the cell {structure.cell.parameters} has no volume")
    return basis, metric, np.ascontiguousarray(np.linalg.cholesky(metric).T)


def _at_least_a_hundredth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(values, 0.01 * values.max())


def _atom_pairs(
    atoms: UnitCell,
    scatterers: NDArray[np.float64],
    classes: NDArray[np.int64],
    n_operations: int,
    at_most: float,
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]]:
    """Pairs from one atom of each site to all atoms of the same or a later site, in batches, ordered by class.

    Of each pair the difference in fractional coordinates, the weight, the class, and whether its lattice images may
    be equivalent to others, which they are not between different sites of which the first is a general position.
    """
    site = atoms.site
    multiplicity = np.bincount(site)
    representatives = np.searchsorted(site, np.arange(len(multiplicity)))
    n_pairs = len(site) - representatives
    batch = np.cumsum(n_pairs) // max(at_most, n_pairs.max())
    for number in np.unique(batch):
        members = np.flatnonzero(batch == number)
        first = np.repeat(representatives[members], n_pairs[members])
        second = np.concatenate([np.arange(representatives[m], len(site)) for m in members])
        own = site[first]
        same_site = site[second] == own
        weights = multiplicity[own] * scatterers[first] * scatterers[second] * np.where(same_site, 1.0, 2.0)
        repeating = same_site | (multiplicity[own] < n_operations)
        pair_classes = classes[own, site[second]]
        order = np.argsort(pair_classes, kind="stable")
        for part in np.array_split(order, max(1, int(np.ceil(len(order) / max(at_most, 1.0))))):
            differences = atoms.fractional[second[part]] - atoms.fractional[first[part]]
            yield differences, weights[part], pair_classes[part], repeating[part]


def _displacement_classes(
    structure_id: str, site: NDArray[np.int64], u_iso: NDArray[np.float64] | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Class of each pair of sites, shape (sites, sites), and the sum U_i + U_j of each class."""
    n_sites = int(site[-1]) + 1
    if u_iso is None:
        return np.zeros((n_sites, n_sites), dtype=np.int64), np.array([2.0])
    values = np.asarray(u_iso, dtype=float)
    if not (values.min() > 0 and values.max() < np.inf):
        raise StructureError("bad_u_iso", f"{structure_id}: every U_iso must be a number above zero, found {values}")
    per_site = values[np.searchsorted(site, np.arange(n_sites))]
    u_sums, inverse = np.unique(np.round(per_site[:, None] + per_site[None, :], 9), return_inverse=True)
    return inverse.reshape(n_sites, n_sites).astype(np.int64), u_sums
