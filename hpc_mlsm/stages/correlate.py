"""Which base patterns correlate: panels from the store, tasks over them on any executor, edges of all together."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.durable import write_durably
from hpc_mlsm.errors import ExecutorError, HpcMlsmError, StoreError
from hpc_mlsm.grouping.correlate import panel_of
from hpc_mlsm.grouping.edges import Edges, join_edges
from hpc_mlsm.grouping.groups import SavedGroups
from hpc_mlsm.grouping.leading import choose_directions
from hpc_mlsm.grouping.panels import PANEL_ROWS, LiveRows, Panels, add_panels, open_panels
from hpc_mlsm.grouping.tasks import (
    HERE_S,
    Correlated,
    CorrelateTask,
    collect,
    correlate_task,
    correlate_tasks,
    done_before,
    panel_rows,
)
from hpc_mlsm.runtime.events import stage_events
from hpc_mlsm.runtime.executor import Executor
from hpc_mlsm.runtime.inline import InlineExecutor
from hpc_mlsm.runtime.resources import usable_cores
from hpc_mlsm.stages.context import RunContext
from hpc_mlsm.store.patterns import PatternStore

PANELS, WORK = "panels", "parts"
"""Folders among the groups: base patterns, kept for updates; and edges of finished tasks, until all are."""

PRUNE_FROM = 1024
"""New patterns below which bounds are not worth what they take: short vectors of all others, as long as 50 products."""

SAMPLE = 1000
"""Patterns from which directions for bounds are chosen."""


@dataclass(frozen=True)
class Found:
    """The edges between structures, by row, and what it took to find them.

    Rows are the structures in the order of their places in the panels; ``live`` are these places. Structures that are
    ``known`` have the patterns that the groups of before were made of.
    """

    panels: Panels
    live: NDArray[np.int64]
    edges: Edges
    known: frozenset[str]
    fresh: int
    pairs: int
    proven: int

    @property
    def ids(self) -> list[str]:
        """Id of the structure in each row."""
        return [self.panels.ids[position] for position in self.live]

    def by_id(self) -> tuple[Edges, tuple[str, ...]]:
        """The edges with rows ordered by id, and the digests in that order."""
        ids = self.ids
        order = np.array(sorted(range(len(ids)), key=ids.__getitem__), np.int64)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        return self.edges.renumbered(place), tuple(self.panels.digests[self.live[row]] for row in order)


def find_edges(context: RunContext, store: PatternStore, saved: SavedGroups | None, stage: str) -> Found:
    """All pairs of base patterns that correlate.

    Pairs of structures that ``saved`` knows, with the same patterns and threshold, are taken from there.

    Raises
    ------
    HpcMlsmError
        If a task failed: the error of the first one that did. What the others found is kept for the next time.
    """
    run, settings = context.run, context.config.group
    wanted = store.digests()
    known = _known(saved, wanted, settings.threshold)
    rows = panel_rows(settings.memory_bytes, len(store.axis().values), PANEL_ROWS)
    panels = _panels(store, run.groups / PANELS, wanted, known, rows)
    live = panels.live(wanted)
    tasks = _tasks(context, panels, live, known)
    counts = _correlate(context, tasks, stage)
    number = np.full(len(panels.ids), -1, np.int64)
    number[live] = np.arange(len(live))
    edges = collect(tasks, settings.memory_bytes, lambda own: own.renumbered(number))
    if saved is not None and known:
        row_of = {panels.ids[position]: row for row, position in enumerate(live)}
        place = np.array([row_of[key] if key in known else -1 for key in saved.ids], np.int64)
        edges = join_edges(edges, saved.edges.renumbered(place))
    pairs, proven = sum(one.pairs for one in counts), sum(one.proven for one in counts)
    return Found(panels, live, edges, known, len(wanted) - len(known), pairs, proven)


def _tasks(context: RunContext, panels: Panels, live: NDArray[np.int64], known: frozenset[str]) -> list[CorrelateTask]:
    """Tasks that compare the panels that hold structures which are not known with all panels."""
    settings, folder = context.config.group, context.run.groups / WORK
    folder.mkdir(parents=True, exist_ok=True)
    unknown = live[np.array([panels.ids[position] not in known for position in live], bool)]
    bounds = [tuple(np.searchsorted(unknown, (ref.first, ref.stop))) for ref in panels.refs]
    fresh = [ref.first for ref, (low, high) in zip(panels.refs, bounds, strict=True) if low < high]
    rows = LiveRows(panels, live)
    prune = settings.prune and len(unknown) >= PRUNE_FROM
    return correlate_tasks(
        panels.refs,
        fresh,
        rows(0, 1).shape[1],
        settings.threshold,
        settings.memory_bytes,
        folder,
        basis=_basis(rows, len(live), settings.threshold, folder) if prune else None,
        device=settings.device,
    )


def _known(saved: SavedGroups | None, wanted: dict[str, str], threshold: float) -> frozenset[str]:
    """Structures whose patterns are those that the saved edges were found among."""
    if saved is None or saved.settings.threshold != threshold:
        return frozenset()
    return frozenset(key for key, digest in zip(saved.ids, saved.digests, strict=False) if wanted.get(key) == digest)


def _panels(store: PatternStore, folder: Path, wanted: dict[str, str], known: frozenset[str], rows: int) -> Panels:
    """Panels that hold all wanted patterns; those of known structures apart from others where they are written anew."""
    panels = open_panels(folder)
    live = panels.live(wanted)
    there = {panels.ids[position] for position in live}
    if panels.wasteful(len(live), rows) or any(ref.rows > rows for ref in panels.refs):
        panels, there = Panels((), (), ()), set()
    for ids in ([key for key in wanted if key in known], [key for key in wanted if key not in known]):
        missing = [key for key in ids if key not in there]
        if missing:
            panels = add_panels(folder, panels, _base(store, missing, wanted), rows)
    return panels


def _base(
    store: PatternStore, ids: list[str], digests: dict[str, str]
) -> Iterator[tuple[list[str], list[str], NDArray[np.float32]]]:
    for which, patterns in store.iter_base(ids):
        own = [ids[k] for k in which]
        yield own, [digests[key] for key in own], patterns


def _basis(rows: LiveRows, n: int, threshold: float, folder: Path) -> Path | None:
    """File of the directions for bounds, where a sample of the patterns says that they are of use."""
    chosen = np.unique(np.linspace(0, n - 1, min(n, SAMPLE)).astype(np.int64))
    sample = rows.some(chosen)
    directions = choose_directions(panel_of(sample), threshold)
    if directions is None:
        return None
    image = BytesIO()
    np.save(image, directions.basis, allow_pickle=False)
    write_durably(folder / "directions.npy", image.getbuffer())
    return folder / "directions.npy"


def _correlate(context: RunContext, tasks: list[CorrelateTask], stage: str) -> list[Correlated]:
    """Run the tasks that no earlier run has finished; what each has found."""
    before = {task.id: done_before(task) for task in tasks}
    counts = [one for one in before.values() if one is not None]
    todo = [task for task in tasks if before[task.id] is None]
    if not todo:
        return counts
    here = sum(task.cost for task in todo) <= HERE_S
    executor: Executor = InlineExecutor() if here else context.executor
    size = {"cores": usable_cores()} if here else context.size
    failures: list[HpcMlsmError] = []
    units = sum(task.units for task in todo)
    with stage_events(context.on_event, stage, n_tasks=len(todo), units="pairs", n_units=units, **size) as listener:
        for outcome in executor.map_tasks(correlate_task, todo, stage=stage, on_event=listener):
            if outcome.value is None:
                failures.append(outcome.error or ExecutorError("the task ended without a result"))
                if isinstance(failures[-1], StoreError):
                    break  # a disk that takes no more will take none of the rest
            else:
                counts.append(outcome.value)
    if failures:
        raise failures[0]
    return counts
