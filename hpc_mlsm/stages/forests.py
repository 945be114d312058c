"""Forests over any executor: trees on all rows, or votes on folds for cross-validation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.models.forest import Grown, TreeTask, grow, merge, merged_votes, plan_forest
from hpc_mlsm.models.forest_rows import ForestRows, write_rows
from hpc_mlsm.models.forest_settings import ForestSettings
from hpc_mlsm.runtime.events import Listener, ignore, stage_events
from hpc_mlsm.runtime.executor import Executor

TRAIN, EVALUATE = "train", "evaluate"


def train_forest(
    executor: Executor, rows: ForestRows, settings: ForestSettings, folder: Path, on_event: Listener = ignore
) -> Any:
    """One scikit-learn forest on all rows, the same whatever the executor and the size of its tasks.

    Parameters
    ----------
    executor : Executor
        Whose workers grow the trees.
    rows : ForestRows
        What to learn from.
    settings : ForestSettings
        The forest.
    folder : Path
        Shared with the workers, for the rows and finished trees; a later call with the same rows and settings grows
        only the trees that are missing.

    Raises
    ------
    StoreError
        If a file cannot be written, or workers read another one.
    Interrupted
        When the work was told to stop.
    """
    path, checksum = _shared(folder, rows, settings)
    return merge(_run(executor, plan_forest(path, checksum, folder, settings, rows), TRAIN, on_event), settings)


def cross_validate_forest(
    executor: Executor, rows: ForestRows, settings: ForestSettings, folder: Path, on_event: Listener = ignore
) -> NDArray[np.float64]:
    """Class probabilities (n, classes) of every row, from the forest that was grown without the row's fold.

    Rows in no fold have NaN. Trees are not kept; see ``train_forest`` for the rest.
    """
    path, checksum = _shared(folder, rows, settings)
    folds = sorted({int(fold) for fold in rows.folds} - {-1})
    grown = _run(executor, plan_forest(path, checksum, folder, settings, rows, folds), EVALUATE, on_event)
    found = np.full((len(rows.labels), int(rows.labels.max()) + 1), np.nan)
    for fold in folds:
        found[rows.test(fold)] = merged_votes(grown, settings, fold)
    return found


def _shared(folder: Path, rows: ForestRows, settings: ForestSettings) -> tuple[Path, str]:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"rows-{settings.kind}.npz"
    return path, write_rows(path, rows)


def _run(executor: Executor, tasks: Sequence[TreeTask], stage: str, on_event: Listener) -> list[Grown]:
    grown = []
    units = sum(task.units for task in tasks)
    with stage_events(on_event, stage, n_tasks=len(tasks), units="trees", n_units=units) as listener:
        for outcome in executor.map_tasks(grow, tasks, stage=stage, on_event=listener):
            if outcome.error is not None:
                raise outcome.error
            if outcome.value is not None:
                grown.append(outcome.value)
    return grown
