"""Base patterns from memory through panels and tasks, as the group stage takes them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.grouping.correlate import panel_of
from hpc_mlsm.grouping.edges import Edges
from hpc_mlsm.grouping.leading import choose_directions
from hpc_mlsm.grouping.panels import Panels, add_panels
from hpc_mlsm.grouping.tasks import Correlated, CorrelateTask, collect, correlate_task, correlate_tasks


def panels_of(folder: Path, patterns: NDArray[np.float32], rows: int, before: Panels | None = None) -> Panels:
    """Panels of patterns named after their row."""
    start = len(before.ids) if before else 0
    ids = [f"s{k:05d}" for k in range(start, start + len(patterns))]
    batches = (
        (ids[k : k + 7], [f"{key:0>32}" for key in ids[k : k + 7]], patterns[k : k + 7]) for k in range(0, len(ids), 7)
    )
    return add_panels(folder, before or Panels((), (), ()), batches, rows)


def tasks_of(
    folder: Path,
    panels: Panels,
    points: int,
    threshold: float,
    fresh: list[int] | None = None,
    basis: Path | None = None,
) -> list[CorrelateTask]:
    """Tasks over all panels, or over those that hold a fresh one."""
    folder.mkdir(exist_ok=True)
    first = [ref.first for ref in panels.refs] if fresh is None else fresh
    return correlate_tasks(panels.refs, first, points, threshold, 2**28, folder, basis=basis)


def directions_of(folder: Path, patterns: NDArray[np.float32], threshold: float) -> Path | None:
    """File of the directions for bounds, chosen from all patterns."""
    found = choose_directions(panel_of(patterns), threshold)
    if found is None:
        return None
    np.save(folder / "directions.npy", found.basis)
    return folder / "directions.npy"


def run_all(tasks: list[CorrelateTask]) -> tuple[Edges, list[Correlated]]:
    """Edges by position, and what each task says."""
    said = [correlate_task(task) for task in tasks]
    return collect(tasks, 2**28, lambda edges: edges), said
