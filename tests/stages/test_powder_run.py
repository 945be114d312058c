"""A run with powder patterns: simulated, stored, resumed."""

from pathlib import Path

import numpy as np
import pytest
from small_run import opened, write_cifs

from hpc_mlsm.config.load import parse_config
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.scattering.engines import simulate_structure
from hpc_mlsm.stages import ingest, plan, simulate
from hpc_mlsm.stages.run_directory import RunDirectory, resolve
from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.structures.cif import read_cif


def powder_config(cifs: Path, *overrides: str) -> RunConfig:
    raw = {
        "name": "powder",
        "source": {"starter": False, "cif_folder": str(cifs)},
        "simulate": {
            "kind": "powder",
            "variants": 3,
            "strain": 0.01,
            "background": [0.0, 0.1],
            "counts": [300.0, 3000.0],
            "grid": {"two_theta_min": 10.0, "two_theta_max": 80.0, "two_theta_step": 0.05},
        },
        "executor": {"kind": "inline"},
    }
    return parse_config(raw, overrides)


@pytest.fixture(scope="module")
def cifs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cifs(tmp_path_factory.mktemp("cifs"))


def stored(folder: Path) -> dict[tuple[str, int], np.ndarray]:
    with PatternStore.open(folder / "patterns" / "powder", "r") as store:
        ids = store.ids()
        return {
            (ids[s], int(v)): row
            for batch in store.iter_batches(100)
            for s, v, row in zip(batch.structure_index, batch.variant, batch.patterns, strict=True)
        }


def test_powder_patterns_are_simulated_into_a_store_of_their_own(tmp_path: Path, cifs: Path) -> None:
    config = powder_config(cifs)
    with opened(tmp_path, config) as context:
        ingest.run(context)
        summary = simulate.run(context)
        assert summary.simulated == 12
        assert simulate.run(context).already_there == 12
    found = stored(tmp_path)
    assert len(found) == 36
    with PatternStore.open(tmp_path / "patterns" / "powder", "r") as store:
        axis = store.axis()
    assert (axis.name, axis.unit) == ("two_theta", "degree")
    np.testing.assert_allclose(axis.values, config.simulate.grid.two_theta)  # type: ignore[union-attr]
    (structure,), _ = read_cif(cifs / "MgO.cif")
    expected = simulate_structure(structure, config.simulate).patterns
    for variant in range(3):
        (key,) = [key for key, v in found if v == variant and key.startswith(structure.id)]
        np.testing.assert_array_equal(found[key, variant], expected[variant])


def test_patterns_do_not_depend_on_how_structures_are_divided_into_tasks(
    tmp_path: Path, cifs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpc_mlsm.plan.tasks.SHORTEST_S", 1e9)
    with opened(tmp_path / "one", powder_config(cifs)) as context:
        ingest.run(context)
        assert simulate.run(context).shards_written == 1
    monkeypatch.setattr("hpc_mlsm.plan.tasks.SHORTEST_S", 1e-9)
    with opened(tmp_path / "many", powder_config(cifs)) as context:
        ingest.run(context)
        assert simulate.run(context).shards_written == 12
    one, many = stored(tmp_path / "one"), stored(tmp_path / "many")
    assert one.keys() == many.keys()
    for key, row in one.items():
        np.testing.assert_array_equal(row, many[key])


def test_structures_without_a_line_in_the_range_are_set_aside_with_a_reason(tmp_path: Path, cifs: Path) -> None:
    config = powder_config(cifs, "simulate.grid={two_theta_min: 10, two_theta_max: 33, two_theta_step: 0.02}")
    with opened(tmp_path, config) as context:
        ingest.run(context)
        summary = simulate.run(context)
        aside = simulate.quarantined(context.run)
    assert summary.quarantined == len(aside) > 0
    assert {reject.reason for reject in aside} == {"no_reflections"}


def test_the_plan_projects_powder_patterns(tmp_path: Path, cifs: Path) -> None:
    with opened(tmp_path, powder_config(cifs)) as context:
        planned = plan.run(context, timed=1)
    assert planned.projection.patterns == 48
    assert planned.projection.classes == 7
    assert not planned.refusal


def test_a_run_is_found_again_with_its_kind_of_patterns(tmp_path: Path, cifs: Path) -> None:
    with opened(tmp_path / "run", powder_config(cifs)):
        pass
    directory, config = resolve(tmp_path / "run", None, [])
    assert directory == RunDirectory(tmp_path / "run", "powder")
    assert config == powder_config(cifs)
