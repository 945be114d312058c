"""Symmetry: operations, expansion of the asymmetric unit, and what symmetry leaves free of the cell."""

from dataclasses import replace

import gemmi
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import StructureError
from hpc_mlsm.structures.structure import Cell, Structure, UnitCell

MERGE_DISTANCE = 0.25
"""Images of one site closer than this (Å) are one atom on a special position."""

_ELEMENTARY_METRICS = np.array(
    [
        [[1, 0, 0], [0, 0, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 0, 0], [0, 0, 1]],
        [[0, 0, 0], [0, 0, 1], [0, 1, 0]],
        [[0, 0, 1], [0, 0, 0], [1, 0, 0]],
        [[0, 1, 0], [1, 0, 0], [0, 0, 0]],
    ],
    dtype=float,
)


def operations_of(space_group: gemmi.SpaceGroup) -> tuple[str, ...]:
    """Coordinate triplets of all operations of a tabulated space group, centring included, identity first."""
    return tuple(op.triplet() for op in space_group.operations())


def rotations_and_translations(operations: tuple[str, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotation parts (n, 3, 3) and translation parts (n, 3) of coordinate triplets, in fractional coordinates."""
    ops = [gemmi.Op(triplet) for triplet in operations]
    rotations = np.array([op.rot for op in ops], dtype=float) / gemmi.Op.DEN
    translations = np.array([op.tran for op in ops], dtype=float) / gemmi.Op.DEN
    return rotations, translations


def expand(structure: Structure, merge_distance: float = MERGE_DISTANCE) -> UnitCell:
    """All atoms of one cell.

    Images of a site that fall within ``merge_distance`` (Å) of each other are one atom, put at their mean, so that
    coordinates rounded in the source (0.333) still give the right multiplicity.

    Raises
    ------
    StructureError
        If the images of a site do not fall into equal clusters: the coordinates contradict the symmetry.
    """
    rotations, translations = rotations_and_translations(structure.operations)
    metric = structure.cell.metric
    positions, numbers, occupancy, u_iso, site_of = [], [], [], [], []
    for index, site in enumerate(structure.sites):
        images = (rotations @ np.array([site.x, site.y, site.z]) + translations) % 1.0
        unique = _merge_images(images, metric, merge_distance)
        positions.append(unique)
        numbers += [gemmi.Element(site.element).atomic_number] * len(unique)
        occupancy += [site.occupancy] * len(unique)
        u_iso += [np.nan if site.u_iso is None else site.u_iso] * len(unique)
        site_of += [index] * len(unique)
    if not numbers:
        raise StructureError("no_atoms", f"{structure.id}: the structure has no atoms")
    return UnitCell(
        fractional=np.concatenate(positions),
        numbers=np.array(numbers, dtype=np.int64),
        occupancy=np.array(occupancy, dtype=float),
        u_iso=np.array(u_iso, dtype=float),
        site=np.array(site_of, dtype=np.int64),
    )


def _merge_images(
    images: NDArray[np.float64], metric: NDArray[np.float64], merge_distance: float
) -> NDArray[np.float64]:
    """Cluster the images of one site; each cluster becomes the mean of its members, wrapped into the cell."""
    merged: list[NDArray[np.float64]] = []
    left = images
    while len(left):
        delta = left - left[0]
        delta -= np.round(delta)
        near = np.einsum("ni,ij,nj->n", delta, metric, delta) < merge_distance**2
        mean = (left[0] + delta[near].mean(axis=0)) % 1.0
        mean[mean > 1.0 - 1e-9] = 0.0
        merged.append(mean)
        left = left[~near]
    return np.array(merged)


def invariant_metrics(operations: tuple[str, ...]) -> NDArray[np.float64]:
    """Basis of the metric tensors that the operations leave unchanged, shape (K, 3, 3).

    Every allowed metric is ``sum_k p_k basis[k]``; K is 1 for cubic, 2 for tetragonal, trigonal and hexagonal, 3 for
    orthorhombic, 4 for monoclinic and 6 for triclinic symmetry, in any setting. A squared distance is then
    ``sum_k p_k (d @ basis[k] @ d)`` for a fractional difference d, which separates what strain changes (p) from what
    it does not.
    """
    rotations, _ = rotations_and_translations(operations)
    rotations = np.unique(rotations, axis=0)
    basis: list[NDArray[np.float64]] = []
    for elementary in _ELEMENTARY_METRICS:
        averaged = np.einsum("nji,jk,nkl->nil", rotations, elementary, rotations).mean(axis=0)
        candidate = [*basis, averaged]
        flat = np.array(candidate).reshape(len(candidate), 9)
        if np.linalg.matrix_rank(flat, tol=1e-8) == len(candidate):
            basis.append(averaged)
    return np.array(basis)


def metric_coefficients(
    metrics: NDArray[np.float64], basis: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Least-squares coefficients p, shape (..., K), of metric tensors (..., 3, 3) in an invariant basis (K, 3, 3)."""
    flat = metrics.reshape(*metrics.shape[:-2], 9)
    return flat @ np.linalg.pinv(basis.reshape(len(basis), 9))


def axis_classes(operations: tuple[str, ...]) -> tuple[int, int, int]:
    """Which cell lengths symmetry ties together: (0, 0, 1) where a = b, (0, 0, 0) where a = b = c, else (0, 1, 2)."""
    rotations, _ = rotations_and_translations(operations)
    tied = np.eye(3, dtype=bool)
    for i in range(3):
        elementary = np.zeros((3, 3))
        elementary[i, i] = 1.0
        averaged = np.einsum("nji,jk,nkl->il", rotations, elementary, rotations)
        tied[i] |= np.abs(np.diag(averaged)) > 1e-9
    tied |= tied.T
    first = [int(np.flatnonzero(row)[0]) for row in tied]
    ranks = sorted(set(first))
    classes = [ranks.index(value) for value in first]
    return classes[0], classes[1], classes[2]


def cell_misfit(cell: Cell, operations: tuple[str, ...]) -> float:
    """Largest relative deviation between a cell's metric and the nearest metric that the operations allow."""
    metric = cell.metric
    basis = invariant_metrics(operations)
    allowed = np.tensordot(metric_coefficients(metric, basis), basis, axes=1)
    return float(np.abs(allowed - metric).max() / np.abs(np.diag(metric)).min())


def with_id(structure: Structure, new_id: str) -> Structure:
    """The same structure under another id."""
    return replace(structure, id=new_id)
