"""Made-up structures enter the catalogue once, by any executor, and follow their settings."""

from dataclasses import replace
from pathlib import Path

import pytest

from hpc_mlsm.catalog import synthetic
from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.catalog.ingest import store_result
from hpc_mlsm.catalog.synthetic import make_synthetic, plan_synthetic, synthetic_tasks
from hpc_mlsm.runtime.inline import InlineExecutor
from hpc_mlsm.structures.substituted import SubstitutedSettings, substituted_structures
from hpc_mlsm.structures.synthetic import SyntheticSettings, synthetic_structures

SETTINGS = SyntheticSettings(count=7, max_atoms=16)


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "PER_TASK", 3)


def ingest(catalogue: Catalogue, settings: SyntheticSettings) -> int:
    tasks = plan_synthetic(settings, catalogue.files())
    with InlineExecutor() as executor:
        for outcome in executor.map_tasks(make_synthetic, tasks, stage="ingest"):
            assert outcome.error is None
            assert outcome.value is not None
            store_result(catalogue, outcome.value)
    return len(tasks)


def test_they_are_made_once_and_again_where_settings_change(tmp_path: Path) -> None:
    with Catalogue(tmp_path / "c.sqlite") as catalogue:
        assert ingest(catalogue, SETTINGS) == 3
        assert ingest(catalogue, SETTINGS) == 0
        first = catalogue.fingerprint()
        assert list(catalogue.structures()) == sorted(synthetic_structures(SETTINGS), key=lambda s: s.id)
        assert {summary.chemistry for summary in catalogue.summaries()} <= {"inorganic", "organic", "metal_organic"}
        assert ingest(catalogue, replace(SETTINGS, count=9)) == 1
        assert catalogue.counts().structures == 9
        assert ingest(catalogue, replace(SETTINGS, seed=1)) == 3
        assert catalogue.fingerprint() != first


def test_fewer_than_before_leave_when_missing_sources_are_removed(tmp_path: Path) -> None:
    with Catalogue(tmp_path / "c.sqlite") as catalogue:
        ingest(catalogue, SETTINGS)
        fewer = replace(SETTINGS, count=3)
        catalogue.remove_missing([task.path for task in synthetic_tasks(fewer)])
        assert ingest(catalogue, fewer) == 0
        assert catalogue.counts().structures == 3


def test_one_that_cannot_be_made_is_a_reject(tmp_path: Path) -> None:
    tight = SyntheticSettings(count=2, space_groups=frozenset({230}), max_atoms=8)
    with Catalogue(tmp_path / "c.sqlite") as catalogue:
        ingest(catalogue, tight)
        assert catalogue.counts().by_reason == {"not_made": 2}


def test_a_task_splits_down_to_one_structure() -> None:
    (task, *_) = synthetic_tasks(SETTINGS)
    one, rest = task.split()
    assert [(part.first, part.count) for part in (one, rest)] == [(0, 1), (1, 2)]
    assert one.split() == ()
    whole = [entry for part in (one, rest) for entry in make_synthetic(part).files[0].structures]
    assert whole == list(make_synthetic(task).files[0].structures)


def test_structures_by_substitution_are_made_the_same_way_and_beside_the_others(tmp_path: Path) -> None:
    substituted = SubstitutedSettings(count=30)
    with Catalogue(tmp_path / "c.sqlite") as catalogue:
        ingest(catalogue, SETTINGS)
        assert ingest(catalogue, substituted) == 2
        assert ingest(catalogue, substituted) == 0
        assert catalogue.counts().structures == SETTINGS.count + 30
        assert {summary.source for summary in catalogue.summaries()} == {"synthetic"}
        made = [s for s in catalogue.structures() if s.id.startswith("synthetic/substituted-0-")]
        assert made == list(substituted_structures(substituted))
