"""Special positions of a space group, found from its operations.

A point on a special position is fixed by a subgroup H of the operations (up to lattice translations). Averaging the
rotations of H gives the projection onto the points that H fixes: p ↦ p₀ + A (p - p₀), for one fixed point p₀. So the
positions come from points with simple fractions as coordinates, which lie on all special positions of rank zero, and
the subgroups of what fixes them.
"""

from dataclasses import dataclass
from functools import lru_cache

import gemmi
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.structures.symmetry import operations_of, rotations_and_translations

_TOLERANCE = 1e-9
_PAIRS = 24
"""So many pairs of operations that fix a point are tried for subgroups between one operation and all."""


@dataclass(frozen=True, eq=False)
class Position:
    """A kind of place in a space group: points ``origin + projection @ (p - origin)``.

    ``multiplicity`` counts its places in the cell; ``freedom`` its free coordinates, 0 to 3.
    """

    origin: NDArray[np.float64]
    projection: NDArray[np.float64]
    multiplicity: int
    freedom: int

    def point(self, anywhere: NDArray[np.float64]) -> NDArray[np.float64]:
        """The point of this kind that belongs to any point (3,), with coordinates from 0 to 1."""
        found = (self.origin + self.projection @ (anywhere - self.origin)) % 1.0
        return np.where(found > 1.0 - _TOLERANCE, 0.0, found)


@lru_cache(maxsize=230)
def positions_of(space_group: int) -> tuple[Position, ...]:
    """Kinds of places of a space group in its tabulated setting, the general one first, then by multiplicity."""
    operations = operations_of(gemmi.find_spacegroup_by_number(space_group))
    rotations, translations = rotations_and_translations(operations)
    order = len(rotations)
    found = [Position(np.zeros(3), np.eye(3), order, 3)]
    seen: set[tuple[object, ...]] = set()
    generic = np.array([0.1372, 0.2719, 0.4153])
    for point in _up_to_symmetry(rotations, translations):
        for subgroup in _subgroups(_fixing(point, rotations, translations)):
            # What fixes a point of the kind in general may be more than the subgroup that led to it.
            on_it = point + subgroup.mean(axis=0) @ (generic - point)
            fixing = _fixing(on_it, rotations, translations)
            projection = np.round(fixing.mean(axis=0), 9) + 0.0
            key = (len(fixing), projection.tobytes(), (np.round((point - projection @ point) % 1.0, 6) % 1.0).tobytes())
            if len(fixing) > 1 and key not in seen:
                seen.add(key)
                freedom = round(float(np.trace(projection)))
                found.append(Position(point, projection, order // len(fixing), freedom))
    return (found[0], *sorted(found[1:], key=lambda position: -position.multiplicity))


def _up_to_symmetry(rotations: NDArray[np.float64], translations: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Points with simple coordinates, one of each set that the operations take into each other."""
    points: dict[tuple[float, ...], NDArray[np.float64]] = {}
    for point in _simple_points():
        images = np.round((rotations @ point + translations) % 1.0, 6) % 1.0
        points.setdefault(min(map(tuple, images.tolist())), point)
    return list(points.values())


@lru_cache(maxsize=1)
def _simple_points() -> tuple[NDArray[np.float64], ...]:
    eighths = np.stack(np.meshgrid(*[np.arange(8) / 8] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    thirds = np.array([[x / 3, y / 3, z / 12] for x in range(3) for y in range(3) for z in range(12)])
    return tuple(np.concatenate([eighths, thirds[thirds[:, :2].any(axis=1)]]))


def _fixing(
    point: NDArray[np.float64], rotations: NDArray[np.float64], translations: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Rotation parts (m, 3, 3) of the operations that bring a point to itself or a lattice translate."""
    moved = rotations @ point + translations - point
    return rotations[np.abs(moved - np.round(moved)).max(axis=1) < _TOLERANCE]


def _subgroups(fixing: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """All operations, each alone, and some pairs, each with what they generate."""
    if len(fixing) == 1:
        return []
    groups = [fixing, *(_generated(fixing[k : k + 1]) for k in range(1, len(fixing)))]
    chosen = np.random.default_rng(len(fixing)).integers(1, len(fixing), (_PAIRS, 2))
    groups += [_generated(fixing[[first, second]]) for first, second in chosen if first != second]
    return [group for group in groups if len(group) > 1]


def _generated(generators: NDArray[np.float64]) -> NDArray[np.float64]:
    """The group of rotations that some of them generate."""
    known = {np.eye(3).tobytes(): np.eye(3)}
    new = list(known.values())
    while new:
        products = [np.round(one @ generator) + 0.0 for one in new for generator in generators]
        new = []
        for product in products:
            if product.tobytes() not in known:
                known[product.tobytes()] = product
                new.append(product)
    return np.array(list(known.values()))
