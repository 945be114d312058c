"""What a run needs is projected from its parts, and refused with the figure and the remedy where it cannot fit."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hpc_mlsm.errors import PlanError
from hpc_mlsm.models.projection import boosted_memory
from hpc_mlsm.models.settings import BoostedSettings
from hpc_mlsm.plan.cost import StructureCost
from hpc_mlsm.plan.projection import (
    Projection,
    project,
    refuse_training_that_cannot_fit,
    refuse_what_cannot_fit,
)
from hpc_mlsm.plan.tasks import MAX_ROWS
from hpc_mlsm.scattering.settings import PdfSettings

SETTINGS, BOOSTED = PdfSettings(), BoostedSettings()


def projected(n: int = 1000, **changes: Any) -> Projection:
    """A run of n structures, of which all are still to be simulated, in 20 tasks on 4 workers."""
    costs = [StructureCost(f"s{k}", 0.05, 101, 1e5) for k in range(n)]
    arguments: dict[str, Any] = {"workers": 4, "n_structures": n, "n_classes": None} | changes
    n_tasks = arguments.pop("n_tasks", 20)
    boosted = arguments.pop("boosted", BOOSTED)
    return project(arguments.pop("costs", costs), n_tasks, SETTINGS, boosted, (0.1, 0.1), **arguments)


def test_sums_over_structures_are_shared_by_the_workers() -> None:
    found = projected()
    assert (found.structures, found.patterns, found.tasks, found.workers) == (1000, 101_000, 20, 4)
    assert found.simulate_seconds == pytest.approx(1000 * 0.05 / 4)
    assert found.store_bytes == pytest.approx(1000 * 1e5)


def test_training_is_projected_for_all_structures_simulated_or_not() -> None:
    found = projected(costs=[], n_tasks=0)
    assert found.patterns == 0
    assert found.simulate_seconds == 0
    assert found.training == boosted_memory(80_000, 10_000, 301, 1000, BOOSTED)


def test_every_structure_is_a_class_of_its_own_until_the_groups_are_known() -> None:
    assert (projected().classes, projected().classes_known) == (1000, False)
    known = projected(n_classes=600)
    assert (known.classes, known.classes_known) == (600, True)
    assert known.training.gradients == pytest.approx(0.6 * projected().training.gradients)
    assert known.train_seconds_per_round == pytest.approx(0.6 * projected().train_seconds_per_round)


def test_a_round_of_the_published_case_is_projected_to_minutes_on_a_node() -> None:
    found = projected(10, n_structures=6062, workers=16)
    # 6062 classes × 484 960 rows × 301 points × 5 levels × 0.24 ns, on 16 cores.
    assert found.train_seconds_per_round == pytest.approx(66, rel=0.02)
    vector = projected(10, n_structures=6062, workers=16, boosted=replace(BOOSTED, trees="vector"))
    assert vector.train_seconds_per_round == pytest.approx(2 * found.train_seconds_per_round)


def test_memory_of_a_worker_follows_the_largest_shard_and_is_bounded() -> None:
    values = 12 * 301
    assert projected(n_tasks=20).simulate_memory == pytest.approx(3e8 + values * 3 * 101_000 / 20)
    assert projected(n_tasks=1).simulate_memory == pytest.approx(3e8 + values * MAX_ROWS)
    assert projected(4, n_tasks=4).simulate_memory == pytest.approx(3e8 + values * 303)
    one_large = [StructureCost("s", 1.0, 80_001, 1e5)]
    assert projected(costs=one_large, n_tasks=1).simulate_memory == pytest.approx(3e8 + values * 80_001)


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_what_fits_is_not_refused(tmp_path: Path) -> None:
    refuse_what_cannot_fit(projected(10), tmp_path / "runs" / "new", 8e9)


def test_patterns_that_do_not_fit_the_disk_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def usage(path: Path) -> Usage:
        asked.append(path)
        return Usage(10**12, 0, 10**8)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    refuse_what_cannot_fit(projected(900), tmp_path / "runs" / "new", 1e12)
    with pytest.raises(PlanError) as caught:
        refuse_what_cannot_fit(projected(1000), tmp_path / "runs" / "new", 1e12)
    assert "need about 0.1 GB on disk" in str(caught.value)
    assert f"{tmp_path} has 0.1 GB free" in str(caught.value)
    assert "lower simulate.variants, or put the run on a larger disk with --run" in str(caught.value)
    assert asked == [tmp_path, tmp_path]


def test_a_disk_that_is_really_too_small_is_refused(tmp_path: Path) -> None:
    huge = replace(projected(10), store_bytes=1e18)
    with pytest.raises(PlanError, match="on disk"):
        refuse_what_cannot_fit(huge, tmp_path, 1e15)


def test_workers_that_do_not_fit_the_memory_together_are_refused(tmp_path: Path) -> None:
    many = replace(projected(10), workers=64)
    with pytest.raises(
        PlanError, match=r"64 workers need about 19\.\d GB .*, 8\.0 GB are free; set executor\.workers to 26"
    ):
        refuse_what_cannot_fit(many, tmp_path, 8e9)
    with pytest.raises(PlanError, match=r"0\.2 GB are free; use a machine with more memory"):
        refuse_what_cannot_fit(projected(10), tmp_path, 2e8)
    # Where everything is simulated already, no workers are needed.
    refuse_what_cannot_fit(replace(many, patterns=0), tmp_path, 8e9)


def test_training_that_does_not_fit_the_memory_is_refused(tmp_path: Path) -> None:
    paper = replace(projected(10), training=boosted_memory(484_960, 60_620, 301, 6062, BOOSTED))
    with pytest.raises(PlanError) as caught:
        refuse_what_cannot_fit(paper, tmp_path, 16e9)
    said = str(caught.value)
    assert "of it 23.5 GB gradients: rows × classes × 8 bytes" in said
    assert "16.0 GB are free" in said
    assert "lower simulate.variants to about 39% of what it is" in said
    refuse_training_that_cannot_fit(paper.training, 64e9)
