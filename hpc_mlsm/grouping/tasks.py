"""All pairs of panels as tasks for any executor: each reads its panels itself and writes the edges that it finds."""

import hashlib
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import PlanError, StoreError
from hpc_mlsm.grouping.blocks import WORKSPACE, max_edges, rows_per_block
from hpc_mlsm.grouping.correlate import Panel, Tally, edges_of_panels
from hpc_mlsm.grouping.edge_file import read_part, write_part
from hpc_mlsm.grouping.edges import Edges, merge_edges
from hpc_mlsm.grouping.panel_file import PanelRef, read_panel
from hpc_mlsm.grouping.panels import PANEL_ROWS
from hpc_mlsm.grouping.products import Device, make_products

SIDES = 32
"""Panels are taken together so that there are at most so many blocks of them, and half as many tasks as its square."""

HERE_S = 5.0
"""Work (core-seconds) that the process which hands out tasks had better do itself than wait for workers to start."""

PAIRS_A_SECOND = 1.6e8
"""Pairs of 301 points that one core compares, without bounding vectors."""


@dataclass(frozen=True)
class CorrelateTask:
    """Panels ``a`` against panels ``b``; of a panel that is in both, each pair of its patterns once.

    Attributes
    ----------
    fresh
        First positions of the panels of which pairs are wanted; pairs of panels neither of which is among them are
        left out.
    points
        Of a pattern.
    folder
        For the file of edges.
    basis
        File of the directions for bounding vectors, where these are used.
    """

    a: tuple[PanelRef, ...]
    b: tuple[PanelRef, ...]
    fresh: frozenset[int]
    points: int
    threshold: float
    memory_bytes: int
    folder: Path
    basis: Path | None = None
    device: Device = "auto"

    @cached_property
    def id(self) -> str:
        """Name of the task, which tells all that its edges depend on."""
        panels = [[(ref.path.name, ref.first) for ref in side] for side in (self.a, self.b)]
        key = repr((panels, sorted(self.fresh), self.threshold))
        return f"correlate-{hashlib.sha256(key.encode()).hexdigest()[:16]}"

    @property
    def panel_pairs(self) -> list[tuple[PanelRef, PanelRef]]:
        """The pairs of panels to compare, those with the same second one together."""
        pairs = [(one, other) for other in self.b for one in self.a if one.first <= other.first]
        return [pair for pair in pairs if not self.fresh.isdisjoint({ref.first for ref in pair})]

    @property
    def units(self) -> int:
        """How many pairs of patterns are compared."""
        return sum(
            one.rows * (one.rows - 1) // 2 if one == other else one.rows * other.rows for one, other in self.panel_pairs
        )

    @property
    def cost(self) -> float:
        """Projected seconds on one core."""
        return self.units * self.points / 301 / PAIRS_A_SECOND

    @property
    def part(self) -> Path:
        """The file of edges."""
        return self.folder / f"{self.id}.h5"


@dataclass(frozen=True, slots=True)
class Correlated:
    """What a task found, the edges being in its file: how many, of how many pairs, and how many bounds excluded."""

    edges: int
    pairs: int
    proven: int


def correlate_tasks(
    refs: Sequence[PanelRef],
    fresh: Collection[int],
    points: int,
    threshold: float,
    memory_bytes: int,
    folder: Path,
    *,
    basis: Path | None = None,
    device: Device = "auto",
) -> list[CorrelateTask]:
    """Divide the comparison of all pairs of panels that hold a fresh one; largest tasks first.

    How it is divided does not depend on the number of workers, nor on what was done before.

    Raises
    ------
    PlanError
        If the memory does not even hold two panels.
    """
    side = _panels_a_side(refs, points, memory_bytes)
    blocks = [tuple(refs[start : start + side]) for start in range(0, len(refs), side)]
    new = frozenset(fresh)
    tasks = [
        CorrelateTask(
            a, b, new & {ref.first for ref in (*a, *b)}, points, threshold, memory_bytes, folder, basis, device
        )
        for k, a in enumerate(blocks)
        for b in blocks[k:]
    ]
    return sorted((task for task in tasks if task.units), key=lambda task: (-task.cost, task.id))


def number_of_tasks(n: int) -> int:
    """How many tasks the comparison of n patterns is divided into, where memory holds what one takes."""
    panels = math.ceil(n / PANEL_ROWS)
    blocks = math.ceil(panels / max(1, math.ceil(panels / SIDES)))
    return max(1, blocks * (blocks + 1) // 2)


def panel_rows(memory_bytes: int, points: int, most: int) -> int:
    """Patterns of a panel, of which two must fit in half of the memory; see `rows_per_block`."""
    return min(most, rows_per_block(memory_bytes, points))


def correlate_task(task: CorrelateTask) -> Correlated:
    """Find the edges of a task and write them, sorted; for workers.

    Raises
    ------
    StoreError
        If a panel cannot be read, or the edges not be written.
    PlanError
        If there are more edges than the memory holds.
    """
    products, basis = make_products(task.device), _basis(task.basis)
    limit, tally = max_edges(task.memory_bytes), Tally()
    parts: list[Edges] = []
    held = {ref.first: read_panel(ref.path, basis) for ref in task.a}
    now: tuple[int, Panel] | None = None
    for one, other in task.panel_pairs:
        if now is None or now[0] != other.first:
            now = other.first, held.get(other.first) or read_panel(other.path, basis)
        a = held[one.first]
        found = edges_of_panels(
            a, now[1], task.threshold, one.first, other.first, limit, products=products, tally=tally
        )
        limit -= len(found)
        parts.append(found)
    edges = merge_edges(parts)
    write_part(task.part, edges, {"pairs": tally.pairs, "proven": tally.proven})
    return Correlated(len(edges), tally.pairs, tally.proven)


def done_before(task: CorrelateTask) -> Correlated | None:
    """What an earlier run found for a task; None where its file is not there, or not whole."""
    try:
        edges, counts = read_part(task.part)
        return Correlated(len(edges), counts["pairs"], counts["proven"])
    except (StoreError, KeyError):
        return None


def collect(tasks: Sequence[CorrelateTask], memory_bytes: int, renumber: Callable[[Edges], Edges]) -> Edges:
    """The edges of all tasks, each renumbered, joined and sorted.

    Raises
    ------
    StoreError
        If a file is missing or damaged.
    PlanError
        If there are more edges than the memory holds.
    """
    parts, found, limit = [], 0, max_edges(memory_bytes)
    for task in tasks:
        parts.append(renumber(read_part(task.part)[0]))
        found += len(parts[-1])
        if found > limit:
            raise PlanError(
                f"more than {limit} pairs correlate at {task.threshold:g} or above, and the memory given to grouping "
                "holds no more: raise group.memory_mb, or raise the threshold"
            )
    return merge_edges(parts)


def _panels_a_side(refs: Sequence[PanelRef], points: int, memory_bytes: int) -> int:
    """Panels taken together; one task holds those of one side, and one of the other."""
    if not refs:
        return 1
    each = max(ref.rows for ref in refs) * (8 * points + 16)
    fitting = (memory_bytes // 2 - WORKSPACE) // each - 1
    if fitting < 1:
        raise PlanError(
            f"{memory_bytes / 2**20:g} MiB were given to grouping, but two panels of {each / 2**20:.0f} MiB and some "
            f"workspace need {-(-2 * (2 * each + WORKSPACE) // 2**20)} MiB: raise group.memory_mb"
        )
    return int(min(fitting, math.ceil(len(refs) / SIDES)))


def _basis(path: Path | None) -> NDArray[np.float64] | None:
    if path is None:
        return None
    try:
        basis: NDArray[np.float64] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error}): run the group stage again") from error
    return basis
