"""Peaks of all patterns of a store, found by workers and kept in files: what forests learn from."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.powder_prepare import subtract_and_scale
from hpc_mlsm.archive.powder_settings import MeasuredPowderSettings
from hpc_mlsm.config.fingerprint import fingerprint
from hpc_mlsm.errors import StoreError
from hpc_mlsm.models.forest_files import read_checked, write_checked
from hpc_mlsm.models.peak_features import PeakSettings, PeakTable, find_peak_table
from hpc_mlsm.runtime.events import Listener, stage_events
from hpc_mlsm.runtime.executor import Executor
from hpc_mlsm.store.patterns import PatternStore

STAGE = "peaks"
"""What events call it; train or evaluate, whichever comes first, has it done."""

ROWS_PER_TASK = 2000
ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class PeakTask:
    """Find the peaks of all patterns of some structures, whose contents ``digests`` name; for one worker.

    ``background`` says how one is subtracted first; None where the patterns have none.
    """

    store: Path
    ids: tuple[str, ...]
    digests: tuple[str, ...]
    rows: int
    peaks: PeakSettings
    background: MeasuredPowderSettings | None
    folder: Path

    @property
    def id(self) -> str:
        """Name of the task: the same for the same patterns and settings."""
        return f"peaks-{fingerprint(self.ids, self.digests, self.peaks, self.background)}"

    @property
    def path(self) -> Path:
        """Where the peaks are written."""
        return self.folder / f"{self.id}.npz"

    @property
    def cost(self) -> float:
        """Projected seconds."""
        return self.rows * (0.004 if self.background else 0.001)

    @property
    def units(self) -> int:
        """How many patterns."""
        return self.rows

    def split(self) -> tuple["PeakTask", ...]:
        """Two halves; none where there is one structure."""
        half = len(self.ids) // 2
        if not half:
            return ()
        rows = self.rows * half // len(self.ids)
        one = replace(self, ids=self.ids[:half], digests=self.digests[:half], rows=rows)
        return one, replace(self, ids=self.ids[half:], digests=self.digests[half:], rows=self.rows - rows)


@dataclass(frozen=True, eq=False)
class StorePeaks:
    """Peaks of all patterns, ordered by structure (as in ``store.ids()``) and variant, each (rows,)."""

    structures: NDArray[np.int64]
    variants: NDArray[np.int64]
    table: PeakTable


def store_peaks(
    executor: Executor,
    folder: Path,
    store: Path,
    peaks: PeakSettings,
    background: MeasuredPowderSettings | None,
    on_event: Listener,
) -> StorePeaks:
    """Peaks of all patterns of a store; a later call with the same patterns finds only what is missing.

    Raises
    ------
    StoreError
        If a shard is damaged or a file cannot be written.
    Interrupted
        When the work was told to stop.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tasks = _tasks(folder, store, peaks, background)
    kept = {task.path.name for task in tasks}
    missing = [task for task in tasks if read_checked(task.path) is None]
    paths = {task.path for task in tasks} - {task.path for task in missing}
    if missing:
        units = sum(task.units for task in missing)
        with stage_events(on_event, STAGE, n_tasks=len(missing), units="patterns", n_units=units) as listener:
            for outcome in executor.map_tasks(find_peaks_of, missing, stage=STAGE, on_event=listener):
                if outcome.error is not None:
                    raise outcome.error
                if outcome.value is not None:
                    paths.add(outcome.value)
    for stale in folder.glob("peaks-*.npz"):
        if stale.name not in kept and stale not in paths:
            stale.unlink(missing_ok=True)
    return _joined(store, sorted(paths))


def find_peaks_of(task: PeakTask) -> Path:
    """Find the peaks of a task's patterns and write them; for workers."""
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64], PeakTable]] = []
    with PatternStore.open(task.store, "r") as store:
        grid = store.axis().values
        for batch in store.iter_batches(ROWS_AT_ONCE, task.ids):
            patterns: NDArray[np.floating] = batch.patterns
            if task.background is not None:
                step = float(grid[1] - grid[0])
                patterns = np.array([subtract_and_scale(row.astype(float), step, task.background) for row in patterns])
            parts.append((batch.structure_index, batch.variant, find_peak_table(patterns, grid, task.peaks)))
    stream = io.BytesIO()
    np.savez(
        stream,
        ids=np.array(task.ids),
        structures=np.concatenate([one[0] for one in parts]),
        variants=np.concatenate([one[1] for one in parts]),
        positions=np.concatenate([one[2].positions for one in parts]),
        count=np.concatenate([one[2].count for one in parts]),
        strongest=np.concatenate([one[2].strongest for one in parts]),
    )
    write_checked(task.path, stream.getvalue())
    return task.path


def _tasks(folder: Path, store: Path, peaks: PeakSettings, background: MeasuredPowderSettings | None) -> list[PeakTask]:
    with PatternStore.open(store, "r") as opened:
        ids, digests = opened.ids(), opened.digests()
        live = opened.live_shards(ids)
    tasks = []
    for _, part in live:
        for chosen in _chunks(part["n_rows"]):
            own = tuple(ids[k] for k in part["structure"][chosen])
            rows = int(part["n_rows"][chosen].sum())
            tasks.append(PeakTask(store, own, tuple(digests[key] for key in own), rows, peaks, background, folder))
    return tasks


def _chunks(n_rows: NDArray[np.int64]) -> Iterator[slice]:
    """Stretches of at most ROWS_PER_TASK rows, or of one structure."""
    start, rows = 0, 0
    for k, count in enumerate(n_rows.tolist()):
        if rows and rows + count > ROWS_PER_TASK:
            yield slice(start, k)
            start, rows = k, 0
        rows += count
    if rows:
        yield slice(start, len(n_rows))


def _joined(store: Path, paths: list[Path]) -> StorePeaks:
    with PatternStore.open(store, "r") as opened:
        number = {key: k for k, key in enumerate(opened.ids())}
    parts: dict[str, list[NDArray]] = {key: [] for key in ("at", "variants", "positions", "count", "strongest")}
    for path in paths:
        content = read_checked(path)
        if content is None:
            raise StoreError(f"{path} was lost or altered since its peaks were found; run again")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            own = np.array([number[key] for key in arrays["ids"].tolist()])
            parts["at"].append(own[arrays["structures"]])
            for key in ("variants", "positions", "count", "strongest"):
                parts[key].append(arrays[key])
    found = {key: np.concatenate(values) for key, values in parts.items()}
    order = np.lexsort((found["variants"], found["at"]))
    table = PeakTable(found["positions"][order], found["count"][order], found["strongest"][order])
    return StorePeaks(found["at"][order], found["variants"][order], table)
