"""Needs of a stage on part of a cluster, and what is refused there, with the figure and the remedy."""

import math
from dataclasses import replace
from typing import Any

import pytest

from hpc_mlsm.models.settings import BoostedSettings
from hpc_mlsm.plan.cost import StructureCost
from hpc_mlsm.plan.refusals import available, refusals
from hpc_mlsm.plan.shape import StageShape, goes
from hpc_mlsm.plan.stages import STARTUP_S, Inventory, stage_need
from hpc_mlsm.plan.words import duration, size, slurm_memory, slurm_time
from hpc_mlsm.scattering.settings import PdfSettings

GB = 10**9
RUNNER = StageShape("simulate", "runner", 4, 64, 1, 256 * GB, 0, 12 * 3600, 660)
LOCAL = StageShape("train", "local", 1, 1, 64, 256 * GB, 0, 48 * 3600, 660)


def inventory(n: int = 1000, seconds: float = 50.0, **changes: Any) -> Inventory:
    """That many structures, of so many seconds each."""
    costs = [StructureCost(f"s{k}", seconds, 101, 1e5) for k in range(n)]
    arguments: dict[str, Any] = {"costs": costs, "structures": n, "classes": n, "classes_known": False}
    arguments |= {"settings": PdfSettings(), "boosted": BoostedSettings(), "shares": (0.1, 0.1)}
    return Inventory(**(arguments | changes))


@pytest.mark.parametrize(
    ("change", "workers", "together", "cores"),
    [
        ({}, 254, 64, 256),
        ({"executor": "mpi"}, 254, 64, 256),
        ({"executor": "local", "nodes": 1, "tasks_per_node": 1, "cpus_per_task": 32}, 32, 32, 32),
        ({"executor": "local", "nodes": 1, "tasks_per_node": 1, "cpus_per_task": 32, "workers": 8}, 8, 8, 32),
        ({"executor": "inline", "nodes": 1, "tasks_per_node": 1}, 1, 1, 1),
        ({"executor": "slurm", "nodes": 1, "tasks_per_node": 1, "workers": 20}, 20, 1, 21),
    ],
)
def test_workers_follow_from_the_executor(change: dict[str, Any], workers: int, together: int, cores: int) -> None:
    shape = replace(RUNNER, **change)
    assert (shape.processes, shape.together, shape.cores) == (workers, together, cores)


def test_memory_is_shared_by_the_tasks_of_a_node_and_a_job_of_its_own_has_its_own() -> None:
    assert RUNNER.memory_each == 4 * GB
    assert replace(RUNNER, executor="slurm", workers=9, worker_memory=3 * GB).memory_each == 3 * GB
    assert replace(RUNNER, memory=None).memory_each is None


def test_simulation_is_divided_among_workers_and_never_shorter_than_its_longest_task() -> None:
    need = stage_need(inventory(), RUNNER)
    assert need.seconds == pytest.approx(STARTUP_S + 50_000 / 254)
    assert (need.workers, need.disk) == (254, pytest.approx(1e8))
    slow = inventory(10, 5.0)
    slow.costs[3] = StructureCost("slow", 7000.0, 101, 1e5)  # type: ignore[index]
    assert stage_need(slow, RUNNER).seconds == pytest.approx(STARTUP_S + 7000)
    assert stage_need(inventory(0), RUNNER).seconds == 0


def test_twice_the_nodes_take_half_the_time() -> None:
    one, two = (stage_need(inventory(100_000), RUNNER.at(n)).seconds - STARTUP_S for n in (8, 16))
    assert one / two == pytest.approx(2, rel=0.01)
    alone = LOCAL.at(4)
    assert (alone.executor, alone.nodes, alone.tasks_per_node, alone.cpus_per_task) == ("runner", 4, 64, 1)
    assert LOCAL.at(1) == LOCAL


def test_training_over_workers_divides_rows_but_not_histograms_and_trees() -> None:
    what = inventory(6000)
    one, many = what.training(1), what.training(100)
    assert many.gradients == pytest.approx(one.gradients / 100)
    assert many.binned == pytest.approx(one.binned / 100)
    assert (many.histograms, many.trees) == (one.histograms, one.trees)
    need = stage_need(what, replace(LOCAL, executor="runner", nodes=102, tasks_per_node=1))
    assert need.memory_each == pytest.approx(many.total + 3e8)
    assert need.workers == 100
    # The work of a round is divided among 6400 cores instead of 64; adding up histograms is what takes the time.
    adding = many.histograms * 6000 / 1e9
    assert need.unit_s == pytest.approx(stage_need(what, LOCAL).unit_s / 100 + adding)
    assert adding > 50


def test_requeues_are_counted_from_what_the_walltime_leaves() -> None:
    assert RUNNER.usable_s == 12 * 3600 - 660
    assert [goes(seconds, RUNNER) for seconds in (0, 100, RUNNER.usable_s, RUNNER.usable_s + 1)] == [1, 1, 1, 2]
    assert stage_need(inventory(1000, 50_000.0), RUNNER).requeues == 4


def refused(what: Inventory, shape: StageShape, free: float = 1e15) -> str:
    """The one reason."""
    (words,) = refusals(what, [stage_need(what, shape)], free, "/runs")
    return words


def test_what_fits_is_not_refused() -> None:
    needs = [stage_need(inventory(), shape) for shape in (RUNNER, replace(LOCAL, memory=1000 * GB))]
    assert refusals(inventory(), needs, 1e15, "/runs") == []


def test_tasks_that_need_more_than_their_part_of_the_node_are_refused() -> None:
    words = refused(inventory(), replace(RUNNER, memory=6 * GB))
    assert "64 processes of a node share 6 GB, which is 93.8 MB each" in words
    assert "set stages.simulate.memory to 19G or stages.simulate.tasks_per_node to 19" in words
    local = replace(RUNNER, executor="local", nodes=1, tasks_per_node=1, cpus_per_task=64, memory=6 * GB)
    assert "stages.simulate.workers to" in refused(inventory(), local)


def test_a_worker_job_that_is_too_small_is_refused() -> None:
    jobs = replace(RUNNER, executor="slurm", nodes=1, tasks_per_node=1, workers=8, worker_memory=10**8)
    assert "its job has 100 MB; set stages.simulate.worker_memory to 1G" in refused(inventory(), jobs)
    assert refusals(inventory(), [stage_need(inventory(), replace(jobs, worker_memory=None))], 1e15, "") == []


def test_a_structure_that_takes_longer_than_the_walltime_is_refused() -> None:
    words = refused(inventory(5, 50_000.0), RUNNER)
    assert "simulate: the longest task (one structure of 101 patterns) takes about 13.9 h" in words
    assert 'of the walltime "12:00:00" 11.8 h are left' in words
    assert 'raise stages.simulate.walltime to "16:51:00" at least' in words


def test_training_that_does_not_fit_its_node_is_refused_with_how_many_nodes_would_do() -> None:
    paper = inventory(6062)
    words = refused(paper, replace(LOCAL, memory=16 * GB, cpus_per_task=16))
    assert "train: needs about" in words
    assert "its node gives 16 GB; set stages.train.memory to" in words
    assert "spread it over 6 nodes (executor: runner, nodes: 6, tasks_per_node: 1)" in words
    assert "lower simulate.variants to about" in words


def test_one_round_longer_than_the_walltime_is_refused_and_a_long_grouping_is_not() -> None:
    words = refused(inventory(6062), replace(LOCAL, cpus_per_task=1, walltime_s=1700))
    assert "train: one boosting round takes about 18 min, and" in words
    group = replace(LOCAL, stage="group", walltime_s=1000, cpus_per_task=1)
    need = stage_need(inventory(0, structures=10**6), group)
    assert need.requeues > 0
    assert need.tasks > 400
    assert need.unit_s < 100


def test_trees_of_vectors_are_not_trained_over_workers() -> None:
    vector = replace(BoostedSettings(), trees="vector")
    shape = replace(LOCAL, executor="runner", nodes=4, tasks_per_node=4)
    words = refused(inventory(10, boosted=vector, train_workers=5), shape)
    assert "5 workers; set train.boosted.trees to per_class, or train.workers to 1" in words
    # Left to the executor, one process trains them.
    assert stage_need(inventory(10, boosted=vector), shape).workers == 1


def test_training_takes_no_more_workers_than_there_are_rows_for() -> None:
    shape = replace(LOCAL, executor="runner", nodes=4, tasks_per_node=64)
    assert stage_need(inventory(1000), shape).workers == 254
    assert stage_need(inventory(20), shape).workers == 20 * 80 // 50
    assert stage_need(inventory(1000, train_workers=1), shape).workers == 1
    assert stage_need(inventory(1000, train_workers=4), LOCAL).workers == 4


def test_a_disk_that_is_too_small_is_refused() -> None:
    assert "disk: the run needs about 110 MB, /runs has 1 MB free" in refused(inventory(), RUNNER, 1e6)


def test_memory_that_nobody_names_refuses_nothing() -> None:
    need = stage_need(inventory(6062), replace(LOCAL, memory=None))
    assert math.isinf(available(need))
    assert refusals(inventory(6062), [need], 1e15, "") == []


def test_words_for_sizes_and_times() -> None:
    assert [size(n) for n in (5e3, 2.5e6, 93.75e6, 4.03e9, 2e13)] == ["5 kB", "2.5 MB", "93.8 MB", "4.03 GB", "20 TB"]
    assert [duration(s) for s in (0, 0.5, 100, 600, 36_000, 400_000)] == [
        "–",
        "< 1 s",
        "100 s",
        "10 min",
        "10.0 h",
        "4.6 d",
    ]
    assert [slurm_time(s) for s in (61, 3600, 90_000)] == ['"00:02:00"', '"01:00:00"', '"1-01:00:00"']
    assert [slurm_memory(n) for n in (1, 2**30, 2**30 + 1)] == ["1G", "1G", "2G"]
