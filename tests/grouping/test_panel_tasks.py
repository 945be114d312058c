"""Tasks over panels come to what float64 says of all pairs, whatever is cut, killed, pruned or added."""

import multiprocessing
import pickle
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from all_pairs import assert_same, correlate_all, noisy
from numpy.typing import NDArray
from panel_runs import directions_of, panels_of, run_all, tasks_of

from hpc_mlsm.errors import PatternError, PlanError, StoreError
from hpc_mlsm.grouping.blocks import max_edges
from hpc_mlsm.grouping.edges import join_edges
from hpc_mlsm.grouping.panels import Panels, open_panels
from hpc_mlsm.grouping.tasks import collect, correlate_task, correlate_tasks, done_before, panel_rows

MIB = 2**20


def reader(patterns: NDArray[np.float32], start: int, stop: int) -> NDArray[np.float32]:
    return patterns[start:stop]


def series(seed: int, n: int, points: int = 301) -> NDArray[np.float32]:
    """Sums of a dozen smooth curves, as PDFs are, some nearly the same."""
    rng = np.random.default_rng(seed)
    x = np.linspace(0, 30, points)
    curves = np.array([np.sin(q * x + p) for q, p in rng.uniform(1, 12, (40, 2))])
    weights = rng.normal(size=(n, 40)) * (rng.random((n, 40)) < 0.2)
    weights[n // 2 :] = weights[: n - n // 2] + 0.1 * rng.normal(size=(n - n // 2, 40))
    return (weights @ curves).astype(np.float32)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("rows", [13, 40, 1000])
def test_edges_are_those_of_float64_however_patterns_are_cut_into_panels(tmp_path: Path, seed: int, rows: int):
    n, points, threshold = 97, 12 + 40 * seed, 0.35 + 0.08 * seed
    patterns = noisy(seed, n, points)
    correlation = np.corrcoef(patterns.astype(np.float64))
    i, j = np.nonzero(np.triu(correlation >= threshold, 1))
    edges, said = run_all(tasks_of(tmp_path / "parts", panels_of(tmp_path, patterns, rows), points, threshold))
    np.testing.assert_array_equal(edges.i, i)
    np.testing.assert_array_equal(edges.j, j)
    np.testing.assert_allclose(edges.correlation, correlation[i, j], atol=6e-8, rtol=0)
    assert_same(edges, correlate_all(partial(reader, patterns), n, points, threshold))
    assert sum(one.edges for one in said) == len(edges)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("threshold", [0.9, 0.95, 0.99])
def test_bounds_leave_the_edges_as_they_are_to_the_last_bit(tmp_path: Path, seed: int, threshold: float):
    patterns = series(seed, 300)
    patterns[5] = 2.5  # a constant
    basis = directions_of(tmp_path, patterns, threshold)
    assert basis is not None
    panels = panels_of(tmp_path, patterns, 128)
    pruned, said = run_all(tasks_of(tmp_path / "pruned", panels, 301, threshold, basis=basis))
    assert_same(pruned, correlate_all(partial(reader, patterns), 300, 301, threshold))
    assert len(pruned) > 0
    assert sum(one.proven for one in said) > 0.9 * sum(one.pairs for one in said)


def test_the_order_of_the_tasks_and_pickling_change_nothing(tmp_path: Path):
    patterns = noisy(1, 80, 40)
    tasks = tasks_of(tmp_path / "parts", panels_of(tmp_path, patterns, 17), 40, 0.6)
    edges, _ = run_all(pickle.loads(pickle.dumps(tasks[::-1])))
    assert_same(edges, correlate_all(partial(reader, patterns), 80, 40, 0.6))
    assert [task.cost for task in tasks] == sorted((task.cost for task in tasks), reverse=True)


def test_every_pair_of_panels_with_a_fresh_one_is_in_exactly_one_task(tmp_path: Path):
    panels = panels_of(tmp_path, noisy(1, 70, 12), 1)
    fresh = {3, 50, 69}
    tasks = tasks_of(tmp_path / "parts", panels, 12, 0.6, sorted(fresh))
    pairs = [(a.first, b.first) for task in tasks for a, b in task.panel_pairs]
    assert len(set(pairs)) == len(pairs)
    wanted = {(a, b) for a in range(70) for b in range(a, 70) if a in fresh or b in fresh}
    assert set(pairs) | {(69, 69)} == wanted  # the last panel is alone in its block, and one pattern makes no pair
    assert sum(task.units for task in tasks) == 69 + 68 + 67
    assert len(tasks_of(tmp_path / "parts", panels, 12, 0.6)) <= 32 * 33 // 2


def test_new_patterns_against_all_and_the_edges_before_are_the_edges_of_all(tmp_path: Path):
    patterns = series(2, 260)
    before = panels_of(tmp_path, patterns[:200], 64)
    old, _ = run_all(tasks_of(tmp_path / "parts", before, 301, 0.9))
    after = panels_of(tmp_path, patterns[200:], 64, before)
    assert [ref.path for ref in after.refs[:4]] == [ref.path for ref in before.refs]
    tasks = tasks_of(tmp_path / "parts", after, 301, 0.9, [ref.first for ref in after.refs[4:]])
    assert sum(task.units for task in tasks) == 60 * 59 // 2 + 60 * 200
    new, _ = run_all(tasks)
    assert_same(join_edges(old, new), correlate_all(partial(reader, patterns), 260, 301, 0.9))


def _killed(task, sign) -> None:
    correlate_task(task[0])
    sign.set()
    while True:
        correlate_task(task[1])


def test_what_a_killed_process_has_finished_is_not_done_again(tmp_path: Path):
    patterns = noisy(3, 90, 40)
    tasks = tasks_of(tmp_path / "parts", panels_of(tmp_path, patterns, 30), 40, 0.5)
    context = multiprocessing.get_context("spawn")
    sign = context.Event()
    process = context.Process(target=_killed, args=(tasks, sign))
    process.start()
    assert sign.wait(300)  # it may have to compile first
    process.kill()
    process.join()
    assert done_before(tasks[0]) is not None
    todo = [task for task in tasks if done_before(task) is None]
    assert len(todo) < len(tasks)
    for task in todo:
        correlate_task(task)
    whole = collect(tasks, 2**28, lambda edges: edges)
    assert_same(whole, correlate_all(partial(reader, patterns), 90, 40, 0.5))


@pytest.mark.parametrize("how", ["empty", "truncated", "flipped"])
def test_a_damaged_file_of_edges_is_done_again(tmp_path: Path, how: str):
    tasks = tasks_of(tmp_path / "parts", panels_of(tmp_path, noisy(3, 90, 40), 90), 40, 0.3)
    said = correlate_task(tasks[0])
    assert done_before(tasks[0]) == said
    content = bytearray(tasks[0].part.read_bytes())
    place = content.rfind(b"\x78")  # in what is compressed
    content[place] ^= 1
    tasks[0].part.write_bytes({"empty": b"", "truncated": content[:-40], "flipped": bytes(content)}[how])
    assert done_before(tasks[0]) is None


def test_a_damaged_panel_is_refused_with_the_remedy(tmp_path: Path):
    panels = panels_of(tmp_path, noisy(3, 90, 40), 90)
    path = panels.refs[0].path
    content = bytearray(path.read_bytes())
    content[content.find(noisy(3, 90, 40)[50].tobytes())] ^= 1
    path.write_bytes(content)
    (task,) = tasks_of(tmp_path / "parts", panels, 40, 0.3)
    with pytest.raises(StoreError, match="delete the folder"):
        correlate_task(task)
    path.unlink()
    assert open_panels(tmp_path) == Panels((), (), ())


def test_patterns_that_are_not_finite_are_refused(tmp_path: Path):
    patterns = noisy(3, 20, 40)
    patterns[7, 3] = np.nan
    with pytest.raises(PatternError, match="1 of 40 points"):
        panels_of(tmp_path, patterns, 90)


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_and_one_pattern_have_no_edges(tmp_path: Path, n: int):
    edges, _ = run_all(tasks_of(tmp_path / "parts", panels_of(tmp_path, noisy(3, n, 20), 8), 20, 0.0))
    assert len(edges) == 0


def test_a_memory_that_holds_no_two_panels_is_refused_with_the_memory_needed(tmp_path: Path):
    panels = panels_of(tmp_path, noisy(3, 400, 4501), 400)
    with pytest.raises(PlanError, match=r"need \d+ MiB: raise group.memory_mb"):
        correlate_tasks(panels.refs, [0], 4501, 0.9, 80 * MIB, tmp_path)
    assert panel_rows(80 * MIB, 4501, 4096) < 400


def test_more_edges_than_fit_in_memory_are_refused(tmp_path: Path):
    n = 1500
    assert max_edges(80 * MIB) < n * (n - 1) // 2
    panels = panels_of(tmp_path, np.tile(noisy(5, 1, 4), (n, 1)), 1500)
    (tmp_path / "parts").mkdir()
    (task,) = correlate_tasks(panels.refs, [0], 4, 0.9, 80 * MIB, tmp_path / "parts")
    with pytest.raises(PlanError, match="raise memory_mb, or raise the threshold"):
        correlate_task(task)


def peak_bytes(folder: Path, n: int, points: int, memory_bytes: int, *, alike: bool) -> int:
    """The most that one task has allocated."""
    stored = np.random.default_rng(0).random((n, points), np.float32)
    if alike:
        stored[:] = stored[0]
    folder.mkdir()
    panels = panels_of(folder, stored, panel_rows(memory_bytes, points, 4096))
    tasks = correlate_tasks(panels.refs, [ref.first for ref in panels.refs], points, 0.95, memory_bytes, folder)
    tracemalloc.start()
    try:
        correlate_task(tasks[0])
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_is_bounded_by_the_setting_and_not_by_the_number_of_patterns(tmp_path: Path):
    memory = 96 * MIB
    small, large = (peak_bytes(tmp_path / str(n), n, 1500, memory, alike=False) for n in (1500, 6000))
    assert large < memory
    assert large < 1.1 * small


def test_memory_is_bounded_when_nearly_all_pairs_correlate(tmp_path: Path):
    memory = 128 * MIB
    n = 1440
    assert n * (n - 1) // 2 < max_edges(memory)
    assert peak_bytes(tmp_path / "alike", n, 200, memory, alike=True) < memory
