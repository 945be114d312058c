"""How fast patterns are correlated and grouped, against the bare matrix product and scipy.

    python benchmarks/grouping.py [--n 10833] [--run RUN] [--update] [--json FILE]

``random`` patterns, of the first number, correlate with nothing. With ``--run`` they are also those of its store, as
many as are asked for: base patterns, then variants, which resemble each other as those of a catalogue do. ``bare`` is
the float32 product of all patterns with all, block by block into one buffer, seen by nobody; of more than 20 000, it
is scaled up from these. ``tasks`` does what the group stage does: writes panels, runs the tasks over these and joins
the edges; ``pruned`` with bounds. Of more than 250 000 patterns one task in 48 is run, evenly spaced, and the time is
scaled up. All run on the same threads. ``cpu_s`` is processor time, of which ``speed``, that of the bare product over
the same pairs, and ``times_ours`` are made: it says the same on a machine that has other things to do. ``rss`` is the
peak of resident memory (MB) of a process that does nothing else. ``--update`` adds 1 % of the patterns to the others.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _table import report
from numpy.typing import NDArray
from scipy.stats import pearsonr

from hpc_mlsm.grouping.correlate import panel_of
from hpc_mlsm.grouping.edges import Edges, join_edges
from hpc_mlsm.grouping.groups import build_groups
from hpc_mlsm.grouping.identity import carry_ids
from hpc_mlsm.grouping.leading import choose_directions
from hpc_mlsm.grouping.linkage import labels_for
from hpc_mlsm.grouping.panels import PANEL_ROWS, LiveRows, Panels, add_panels
from hpc_mlsm.grouping.settings import Linkage
from hpc_mlsm.grouping.tasks import collect, correlate_task, correlate_tasks
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.store.patterns import PatternStore

SAMPLE = 2000
THRESHOLD = 0.95
MEMORY = 2**31
BARE_AT_MOST = 20_000
WHOLE_AT_MOST = 250_000
ONE_IN = 48
POINTS = 301

Source = Callable[[int], NDArray[np.float32]]
"""Gives patterns 4096 k to 4096 (k + 1) of a set."""


def main() -> None:
    """Run the comparisons, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, nargs="+", default=[10_833], help="numbers of patterns")
    parser.add_argument("--run", type=Path, help="a run whose patterns are used besides random ones")
    parser.add_argument("--update", action="store_true", help="also add 1 %% to the others")
    parser.add_argument("--json", type=Path, help="file for the figures")
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        rows += compare("random", asked.n[0], Path(folder), random_batches(asked.n[0]))
    for n in asked.n if asked.run else ():
        with tempfile.TemporaryDirectory() as folder:
            rows += compare("store", n, Path(folder), stored_batches(asked.run, n), update=asked.update)
    report(f"grouping patterns of {POINTS} points", rows, asked.json)


def compare(
    name: str, n: int, folder: Path, batches: Iterator[NDArray[np.float32]], *, update: bool = False
) -> list[dict[str, Any]]:
    """All of one set of patterns."""
    start = time.perf_counter()
    panels = add_panels(folder, Panels((), (), ()), named(batches))
    written_s, n = time.perf_counter() - start, len(panels.ids)
    rows_of = LiveRows(panels, np.arange(n))
    sample = rows_of.some(np.unique(np.linspace(0, n - 1, 1000).astype(int)))
    bare_s, bare_cpu = bare_seconds(rows_of, n)
    pairs = n * (n - 1) / 2
    made = [
        {"patterns": name, "n": n, "what": "bare product, n × n", "time_s": bare_s, "cpu_s": bare_cpu, "speed": 1.0}
    ]
    made.append({"patterns": name, "n": n, "what": "writing panels", "time_s": written_s})
    cpu = time.process_time()
    directions = choose_directions(panel_of(sample), THRESHOLD)
    chosen_s = time.process_time() - cpu
    best_cpu = bare_cpu
    found: Edges | None = None
    for what, basis in (("tasks", None), ("pruned", directions)):
        if what == "pruned" and basis is None:
            made.append({"patterns": name, "n": n, "what": "pruned: of no use here"})
            continue
        path = None if basis is None else folder / "directions.npy"
        if path is not None and basis is not None:
            np.save(path, basis.basis)
        time_s, said = in_process(partial(run_tasks, panels, folder / what, path, n > WHOLE_AT_MOST))
        best_cpu = said.pop("cpu") + (chosen_s if path else 0)
        own = {"patterns": name, "n": n, "what": what, "time_s": time_s + (chosen_s if path else 0), "cpu_s": best_cpu}
        made.append(own | {"speed": bare_cpu / 2 / best_cpu, **said})
        if n <= WHOLE_AT_MOST:
            edges = collect(all_tasks(panels, folder / what, path), 8 * MEMORY, lambda part: part)
            assert found is None or np.array_equal(found.correlation, edges.correlation)
            found = edges
    scipy_s = pearsonr_per_pair(sample) * pairs
    made.append({"patterns": name, "n": n, "what": f"pearsonr, from {SAMPLE} pairs", "cpu_s": scipy_s})
    made[-1]["times_ours"] = scipy_s / best_cpu
    if found is not None:
        made += linked(name, rows_of, panels, found)
        if update:
            made += updated(name, panels, folder, found)
    return made


def run_tasks(panels: Panels, folder: Path, basis: Path | None, piecewise: bool) -> dict[str, Any]:
    """All tasks, or one in some of them; what they found, and the time scaled up to all."""
    tasks = all_tasks(panels, folder, basis)
    chosen = tasks[:: ONE_IN if piecewise else 1]
    start, cpu = time.perf_counter(), time.process_time()
    said = [correlate_task(task) for task in chosen]
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    scale = sum(task.units for task in tasks) / sum(task.units for task in chosen)
    pairs = sum(one.pairs for one in said)
    return {
        "seconds": seconds * scale,
        "cpu": cpu * scale,
        "edges": round(sum(one.edges for one in said) * scale),
        "proven": sum(one.proven for one in said) / pairs,
        "tasks": f"{len(chosen)} of {len(tasks)}",
        "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
    }


def in_process(work: Callable[[], dict[str, Any]]) -> tuple[float, dict[str, Any]]:
    """Do something in a process of its own; its seconds, and what it says."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        said = pool.apply(work)
    return said.pop("seconds"), said


def all_tasks(panels: Panels, folder: Path, basis: Path | None, fresh: list[int] | None = None) -> list[Any]:
    """The tasks of the group stage."""
    folder.mkdir(exist_ok=True)
    first = [ref.first for ref in panels.refs] if fresh is None else fresh
    return correlate_tasks(panels.refs, first, POINTS, THRESHOLD, MEMORY, folder, basis=basis, device="cpu")


def linked(name: str, rows: LiveRows, panels: Panels, edges: Edges) -> list[dict[str, Any]]:
    """From edges to groups with ids."""
    made = []
    kinds: tuple[Linkage, ...] = ("single", "leader", "complete")
    labels_for(panels.ids[:2], Edges(*(column[:0] for column in (edges.i, edges.j, edges.correlation))), "complete")
    for linkage in kinds:
        start = time.perf_counter()
        labels = labels_for(panels.ids, edges, linkage)
        made.append(row(name, panels, f"linkage: {linkage}", start) | {"groups": int(labels.max()) + 1})
    start = time.perf_counter()
    labels = labels_for(panels.ids, edges, "single")
    groups = build_groups(panels.ids, labels, rows, memory_bytes=MEMORY)
    made.append(row(name, panels, "groups and their correlations", start))
    start = time.perf_counter()
    carry_ids(groups, groups, (), 2)
    made.append(row(name, panels, "ids of before", start))
    return made


def updated(name: str, panels: Panels, folder: Path, edges: Edges) -> list[dict[str, Any]]:
    """1 % more patterns against all."""
    n = max(1, len(panels.ids) // 100)
    more = LiveRows(panels, np.arange(n))(0, n) * np.float32(2.0)
    more[:, ::7] += np.float32(0.1)
    start = time.perf_counter()
    ids = [f"new{k:07d}" for k in range(n)]
    after = add_panels(folder, panels, [(ids, [f"{k:032d}" for k in range(n)], more)])
    fresh = [ref.first for ref in after.refs[len(panels.refs) :]]
    tasks = all_tasks(after, folder / "update", folder / "directions.npy", fresh)
    for task in tasks:
        correlate_task(task)
    join_edges(edges, collect(tasks, MEMORY, lambda part: part))
    return [row(name, panels, "1 % more against all", start)]


def row(name: str, panels: Panels, what: str, start: float) -> dict[str, Any]:
    """A row of the table for something that has just ended."""
    return {"patterns": name, "n": len(panels.ids), "what": what, "time_s": time.perf_counter() - start}


def bare_seconds(rows: LiveRows, n: int, block: int = 1024) -> tuple[float, float]:
    """Seconds and processor seconds of all n × n products."""
    some = n if n <= BARE_AT_MOST else 20_000
    patterns = rows(0, some)
    buffer = np.empty((block, block), np.float32)
    start, cpu = time.perf_counter(), time.process_time()
    for top in range(0, some, block):
        a = patterns[top : top + block]
        for left in range(0, some, block):
            b = patterns[left : left + block]
            np.matmul(a, b.T, out=buffer[: len(a), : len(b)])
    scale = (n / some) ** 2
    return (time.perf_counter() - start) * scale, (time.process_time() - cpu) * scale


def pearsonr_per_pair(patterns: NDArray[np.float32]) -> float:
    """Processor seconds that scipy takes for a pair."""
    chosen = np.random.default_rng(2).integers(0, len(patterns), (SAMPLE, 2))
    start = time.process_time()
    for i, j in chosen:
        pearsonr(patterns[i], patterns[j])
    return (time.process_time() - start) / SAMPLE


def random_batches(n: int) -> Iterator[NDArray[np.float32]]:
    """Patterns of which none correlates with another."""
    rng = np.random.default_rng(0)
    for start in range(0, n, PANEL_ROWS):
        yield rng.standard_normal((min(PANEL_ROWS, n - start), POINTS), np.float32)


def stored_batches(run: Path, n: int) -> Iterator[NDArray[np.float32]]:
    """Base patterns of a run, then as many variants as are still wanted."""
    with PatternStore.open(RunDirectory(run).patterns, "r") as store:
        left = n
        for _, patterns in store.iter_base(store.ids()):
            if left:
                yield patterns[:left]
                left -= len(patterns[:left])
        for batch in store.iter_batches(PANEL_ROWS):
            if left:
                yield batch.patterns[:left]
                left -= len(batch.patterns[:left])


def named(batches: Iterator[NDArray[np.float32]]) -> Iterator[tuple[list[str], list[str], NDArray[np.float32]]]:
    """The same with ids."""
    start = 0
    for patterns in batches:
        numbers = range(start, start + len(patterns))
        yield [f"s{k:07d}" for k in numbers], [f"{k:032d}" for k in numbers], patterns
        start += len(patterns)


if __name__ == "__main__":
    main()
