"""Symmetry: operations, expansion of the asymmetric unit, and what symmetry leaves free of the cell."""

from functools import lru_cache

import gemmi
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import StructureError
from hpc_mlsm.structures.structure import Cell, Structure, UnitCell

MERGE_DISTANCE = 0.25
"""Images of one site closer than this (Å) are one atom on a special position."""

ROUNDING_DISTANCE = 0.05
"""Images this close (Å) differ by the rounding of coordinates alone."""

_GRID = 100_000

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
    return _operations_of_hall(space_group.hall)


@lru_cache(maxsize=1024)
def _operations_of_hall(symbol: str) -> tuple[str, ...]:
    return tuple(op.triplet() for op in gemmi.symops_from_hall(symbol))


@lru_cache(maxsize=512)
def rotations_and_translations(operations: tuple[str, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotation parts (n, 3, 3) and translation parts (n, 3) of coordinate triplets, in fractional coordinates.

    The arrays are shared between callers, and cannot be written to.
    """
    ops = [gemmi.Op(triplet) for triplet in operations]
    rotations = np.array([op.rot for op in ops], dtype=float) / gemmi.Op.DEN
    translations = np.array([op.tran for op in ops], dtype=float) / gemmi.Op.DEN
    rotations.setflags(write=False)
    translations.setflags(write=False)
    return rotations, translations


def expand(structure: Structure, merge_distance: float = MERGE_DISTANCE) -> UnitCell:
    """All atoms of one cell.

    Images of a site that fall within ``merge_distance`` (Å) of each other are one atom on a special position, and
    the site is moved there exactly, so that coordinates rounded in the source (0.333) still give the right
    multiplicity. Images that may all be there, because their occupancies add to no more than 1, are a disordered
    atom near that position and stay apart unless only rounding (0.05 Å) separates them.

    Raises
    ------
    StructureError
        With reason ``no_atoms``, or ``site_symmetry`` if the images of a site do not fall into equal clusters: the
        coordinates contradict the symmetry.
    """
    sites = structure.sites
    if not sites:
        raise StructureError("no_atoms", f"{structure.id}: the structure has no atoms")
    rotations, translations = rotations_and_translations(structure.operations)
    positions = np.array([[site.x, site.y, site.z] for site in sites])
    metric = structure.cell.metric
    images = np.einsum("nij,sj->sni", rotations, positions) + translations
    close = _squared_lengths(images - positions[:, None], metric) < merge_distance**2
    shared = close.sum(axis=1)
    found, made_by = [], []
    for index, site in enumerate(sites):
        if shared[index] == 1:
            found.append(images[index] % 1.0)
            made_by.append(np.arange(len(rotations)))
            continue
        orbit = None
        if site.occupancy <= 0.5 + 1e-3:
            orbit = _special_orbit(positions[index], rotations, translations, metric, ROUNDING_DISTANCE)
            if orbit is not None and not _coexist(orbit[0], site.occupancy, metric, merge_distance):
                orbit = None
        if orbit is None:
            orbit = _special_orbit(positions[index], rotations, translations, metric, merge_distance)
        if orbit is None:
            raise StructureError(
                "site_symmetry",
                f"{structure.id}: images of site {site.label} cluster unequally around a special position; "
                "its coordinates contradict the symmetry",
            )
        found.append(orbit[0])
        made_by.append(orbit[1])
    counts = [len(orbit) for orbit in found]
    fractional = np.concatenate(found)
    fractional[fractional > 1.0 - 1e-9] = 0.0
    u_iso = [np.nan if site.u_iso is None else site.u_iso for site in sites]
    return UnitCell(
        fractional=fractional,
        numbers=np.repeat([gemmi.Element(site.element).atomic_number for site in sites], counts).astype(np.int64),
        occupancy=np.repeat([float(site.occupancy) for site in sites], counts),
        u_iso=np.repeat(u_iso, counts),
        site=np.repeat(np.arange(len(sites), dtype=np.int64), counts),
        operation=np.concatenate(made_by).astype(np.int64),
    )


def _squared_lengths(delta: NDArray[np.float64], metric: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared lengths (Å²) of fractional differences (..., 3), to the nearest lattice point along each axis."""
    delta = delta - np.round(delta)
    return np.asarray(np.sum((delta @ metric) * delta, axis=-1))


def _coexist(orbit: NDArray[np.float64], occupancy: float, metric: NDArray[np.float64], merge_distance: float) -> bool:
    """Whether the atoms of an orbit that are within the merge distance of each other may share that place."""
    near = _squared_lengths(orbit - orbit[0], metric) < merge_distance**2
    return bool(near.sum() * occupancy <= 1.0 + 1e-3)


def _special_orbit(
    position: NDArray[np.float64],
    rotations: NDArray[np.float64],
    translations: NDArray[np.float64],
    metric: NDArray[np.float64],
    tolerance: float,
) -> tuple[NDArray[np.float64], NDArray[np.int64]] | None:
    """Orbit of the special position nearest to a point, in the cell, and the operations that make it.

    None if there is no such position.

    The mean of the images near the point is where the operations that made them leave it; moving there may bring
    more images near, so it is done until nothing changes.
    """
    near = np.zeros(len(rotations), dtype=bool)
    while True:
        delta = rotations @ position + translations - position
        delta -= np.round(delta)
        joined = near | (_squared_lengths(delta, metric) < tolerance**2)
        if (joined == near).all():
            break
        near = joined
        position = position + delta[near].mean(axis=0)
    images = (rotations @ position + translations) % 1.0
    # The shift keeps rational coordinates, which are the rule here, off the edges of the grid of comparison.
    grid = np.round(images * _GRID + 0.2357111317).astype(np.int64) % _GRID
    _, first = np.unique(grid @ np.array([1, _GRID, _GRID**2]), return_index=True)
    first.sort()
    return (images[first], first) if len(first) * near.sum() == len(images) else None


@lru_cache(maxsize=4096)
def invariant_metrics(operations: tuple[str, ...]) -> NDArray[np.float64]:
    """Basis of the metric tensors that the operations leave unchanged, shape (K, 3, 3), read-only.

    Every allowed metric is ``sum_k p_k basis[k]``; K is 1 for cubic, 2 for tetragonal, trigonal and hexagonal, 3 for
    orthorhombic, 4 for monoclinic and 6 for triclinic symmetry, in any setting. A squared distance is then
    ``sum_k p_k (d @ basis[k] @ d)`` for a fractional difference d, which separates what strain changes (p) from what
    it does not.
    """
    rotations, _ = rotations_and_translations(operations)
    rotations = np.unique(rotations, axis=0)
    basis: list[NDArray[np.float64]] = []
    orthonormal = np.zeros((0, 9))
    for elementary in _ELEMENTARY_METRICS:
        averaged = (rotations.transpose(0, 2, 1) @ elementary @ rotations).mean(axis=0)
        flat = averaged.reshape(9)
        new = flat - (orthonormal @ flat) @ orthonormal
        length = float(np.linalg.norm(new))
        if length > 1e-8:
            basis.append(averaged)
            orthonormal = np.vstack([orthonormal, new / length])
    found = np.array(basis)
    found.setflags(write=False)
    return found


def metric_coefficients(metrics: NDArray[np.float64], basis: NDArray[np.float64]) -> NDArray[np.float64]:
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
    allowed = (metric.reshape(9) @ _allowed_part(operations)).reshape(3, 3)
    return float(np.abs(allowed - metric).max() / np.abs(np.diag(metric)).min())


@lru_cache(maxsize=4096)
def _allowed_part(operations: tuple[str, ...]) -> NDArray[np.float64]:
    """Projector, shape (9, 9), of metric tensors on those that the operations allow, by least squares."""
    basis = invariant_metrics(operations).reshape(-1, 9)
    return np.asarray(np.linalg.pinv(basis) @ basis)
