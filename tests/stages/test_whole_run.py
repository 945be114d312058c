"""The main job from CIFs to ranked structures, on a small run, and what is done again when something changes."""

import csv
import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from small_run import FORMULAE, opened, small_config, write_cifs

from hpc_mlsm.errors import ConfigError, HpcMlsmError, RunError, StoreError, StructureError
from hpc_mlsm.runtime.events import Event, TaskFinished
from hpc_mlsm.scattering.engines import SimulatedStructure, simulate_structure
from hpc_mlsm.scattering.settings import PdfSettings
from hpc_mlsm.stages import evaluate, group, ingest, predict, report, simulate, train
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.status import run_status
from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.structures.structure import Structure


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run in which every stage has run, and its folder of CIFs."""
    folder = tmp_path_factory.mktemp("whole")
    cifs = write_cifs(folder / "cifs")
    with opened(folder / "run", small_config(cifs)) as context:
        ingest.run(context)
        simulate.run(context)
        group.run(context)
        train.run(context)
        evaluate.run(context)
        report.run(context, predict.run(context))
    return folder / "run", cifs


def rerun(run: Path, cifs: Path, *overrides: str) -> dict[str, object]:
    """Run all stages again; what each said it did."""
    with opened(run, small_config(cifs, *overrides)) as context:
        return {
            "ingest": ingest.run(context),
            "simulate": simulate.run(context),
            "group": group.run(context),
            "train": train.run(context),
            "evaluate": evaluate.run(context),
        }


def files_and_times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def copied(finished: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """A copy of the finished run and its CIFs that a test may spoil."""
    run, cifs = finished
    shutil.copytree(run, tmp_path / "run")
    shutil.copytree(cifs, tmp_path / "cifs")
    return tmp_path / "run", tmp_path / "cifs"


def test_every_stage_is_done_and_says_so(finished: tuple[Path, Path]) -> None:
    run = RunDirectory(finished[0])
    states = {stage.stage: stage.state for stage in run_status(run, run.load())}
    assert states == dict.fromkeys(("ingest", "simulate", "group", "train", "evaluate", "predict", "report"), "done")


def test_the_store_holds_base_and_variants_of_every_structure(finished: tuple[Path, Path]) -> None:
    with PatternStore.open(RunDirectory(finished[0]).patterns, "r") as store:
        assert store.n_structures == len(FORMULAE)
        assert store.n_rows == 12 * len(FORMULAE)
        assert store.base_rows(0, len(FORMULAE)).shape == (len(FORMULAE), 151)


def test_the_model_beats_guessing_and_the_baseline_stands_beside_it(finished: tuple[Path, Path]) -> None:
    scores = json.loads(RunDirectory(finished[0]).evaluation.read_text())["scores"]
    assert set(scores) == {"XGBoost", "nearest neighbour (Pearson)", "most frequent class"}
    # A dozen classes that differ much: a model that has learnt anything names most of them.
    assert scores["XGBoost"]["top_k"]["1"] > 0.5 > scores["most frequent class"]["top_k"]["1"]
    assert scores["nearest neighbour (Pearson)"]["top_k"]["1"] > 0.5


def test_sample_patterns_are_ranked_in_the_tables(finished: tuple[Path, Path]) -> None:
    folder = RunDirectory(finished[0]).predictions
    rows = list(csv.DictReader((folder / "predictions.csv").read_text().splitlines()))
    assert {row["rank"] for row in rows} == {"1", "2", "3", "4", "5"}
    assert len({row["pattern"] for row in rows}) == 3
    assert (folder / "predictions.nxs").stat().st_size > 0
    named = 0
    for path in (folder / "samples").glob("*.gr"):
        truth = path.read_text().splitlines()[1].split("=")[1].split()[0]
        top = [row["structure_ids"] for row in rows if row["pattern"].endswith(path.name)][:3]
        named += any(truth in ids.split("; ") for ids in top)
    assert named >= 2


def test_the_report_is_one_file_with_figures(finished: tuple[Path, Path]) -> None:
    text = RunDirectory(finished[0]).report.read_text()
    assert text.count("<svg") + text.count("data:image/png") >= 4
    assert "XGBoost" in text


def test_running_again_does_nothing(copied: tuple[Path, Path]) -> None:
    run, cifs = copied
    before = {name: files_and_times(run / name) for name in ("patterns", "groups", "models")}
    did = rerun(run, cifs)
    assert did["ingest"].files_parsed == 0
    assert (did["simulate"].simulated, did["simulate"].shards_written) == (0, 0)
    assert did["group"].reused
    assert did["train"].reused
    after = {name: files_and_times(run / name) for name in ("patterns", "groups", "models")}
    assert {key: set(value) for key, value in after.items()} == {key: set(value) for key, value in before.items()}
    assert after["models"] == before["models"]


@pytest.mark.parametrize(
    ("override", "simulated", "grouped", "trained"),
    [
        ("predict.top_k=2", False, False, False),
        ("train.boosted.max_depth=2", False, False, True),
        ("split.seed=5", False, False, True),
        ("group.threshold=0.999", False, True, True),
        ("simulate.strain=0.01", True, True, True),
    ],
)
def test_a_changed_parameter_redoes_exactly_what_depends_on_it(
    copied: tuple[Path, Path], override: str, simulated: bool, grouped: bool, trained: bool
) -> None:
    did = rerun(*copied, override)
    assert did["ingest"].files_parsed == 0
    assert did["simulate"].simulated == (len(FORMULAE) if simulated else 0)
    assert did["group"].reused is not grouped
    assert did["train"].reused is not trained


def test_an_added_structure_alone_is_simulated_and_a_withdrawn_one_leaves(copied: tuple[Path, Path]) -> None:
    run, cifs = copied
    write_cifs(cifs, ("Au",))
    (cifs / "W.cif").unlink()
    did = rerun(run, cifs)
    assert (did["ingest"].files_parsed, did["ingest"].files_removed) == (1, 1)
    assert (did["simulate"].simulated, did["simulate"].already_there) == (1, len(FORMULAE) - 1)
    with PatternStore.open(run / "patterns" / "pdf", "r") as store:
        assert "Au" in store.ids()
        assert "W" not in store.ids()


def test_a_bit_flip_in_a_shard_is_found_and_only_that_shard_redone(copied: tuple[Path, Path]) -> None:
    run, cifs = copied
    shards = sorted((run / "patterns" / "pdf").glob("shard-*.h5"))
    with PatternStore.open(run / "patterns" / "pdf", "r") as store:
        before = {key: store.patterns_of(key)[0] for key in store.ids()}
    spoilt = bytearray(shards[0].read_bytes())
    spoilt[len(spoilt) // 2] ^= 4
    shards[0].write_bytes(bytes(spoilt))
    did = rerun(run, cifs)["simulate"]
    assert did.shards_damaged == 1
    assert 0 < did.simulated < len(FORMULAE) or len(shards) == 1
    with PatternStore.open(run / "patterns" / "pdf", "r") as store:
        assert all(np.array_equal(store.patterns_of(key)[0], rows) for key, rows in before.items())


def test_patterns_do_not_depend_on_how_they_are_divided_among_tasks(copied: tuple[Path, Path], tmp_path: Path) -> None:
    run, cifs = copied
    with opened(tmp_path / "local", small_config(cifs, "executor.kind=local", "executor.workers=2")) as context:
        ingest.run(context)
        simulate.run(context)
    with (
        PatternStore.open(run / "patterns" / "pdf", "r") as one,
        PatternStore.open(tmp_path / "local" / "patterns" / "pdf", "r") as other,
    ):
        assert one.ids() == other.ids()
        assert all(np.array_equal(one.patterns_of(key)[0], other.patterns_of(key)[0]) for key in one.ids())


def test_events_of_every_stage_are_heard(tmp_path: Path) -> None:
    heard: list[Event] = []
    cifs = write_cifs(tmp_path / "cifs", ("Ni", "MgO"))
    with opened(tmp_path / "run", small_config(cifs), heard) as context:
        ingest.run(context)
        simulate.run(context)
    units = [event.n_units for event in heard if isinstance(event, TaskFinished) and event.stage == "simulate"]
    assert sum(units) == 2 * 13


def test_a_stage_without_its_input_says_what_to_run(tmp_path: Path) -> None:
    cifs = write_cifs(tmp_path / "cifs", ("Ni", "MgO"))
    with opened(tmp_path / "run", small_config(cifs)) as context:
        ingest.run(context)
        with pytest.raises(HpcMlsmError, match="simulate"):
            group.run(context)
        simulate.run(context)
        with pytest.raises(HpcMlsmError, match="group"):
            train.run(context)
        group.run(context)
        with pytest.raises(HpcMlsmError, match="train"):
            evaluate.run(context)


def test_one_class_cannot_be_trained(tmp_path: Path) -> None:
    cifs = write_cifs(tmp_path / "cifs", ("Ni",))
    with opened(tmp_path / "run", small_config(cifs)) as context:
        ingest.run(context)
        simulate.run(context)
        group.run(context)
        with pytest.raises(RunError, match="1 class only"):
            train.run(context)


def test_patterns_of_the_parameters_before_outlive_a_simulation_that_fails(
    copied: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, cifs = copied

    def full(*_: object) -> None:
        raise StoreError("no space")

    monkeypatch.setattr(simulate, "write_shard", full)
    with pytest.raises(RunError, match="no space"):
        rerun(run, cifs, "simulate.strain=0.02")
    monkeypatch.undo()
    did = rerun(run, cifs)
    assert did["simulate"].simulated == 0
    assert did["train"].reused


def test_an_engine_that_is_not_installed_is_refused_before_anything_is_done(copied: tuple[Path, Path]) -> None:
    run, cifs = copied
    if find_spec("diffpy") is not None and find_spec("diffpy.srreal") is not None:
        pytest.skip("diffpy.srreal is installed here")
    with pytest.raises(ConfigError, match=r"environment\.yml"):
        rerun(run, cifs, "simulate.engine=diffpy")
    assert rerun(run, cifs)["simulate"].simulated == 0


def test_a_folder_without_one_usable_structure_ends_the_job(tmp_path: Path) -> None:
    (tmp_path / "cifs").mkdir()
    (tmp_path / "cifs" / "empty.cif").touch()
    (tmp_path / "cifs" / "page.cif").write_text("<html>not found</html>")
    with (
        opened(tmp_path / "run", small_config(tmp_path / "cifs")) as context,
        pytest.raises(HpcMlsmError, match="none of 2 files gave a structure: 1 × empty, 1 × not_cif"),
    ):
        ingest.run(context)


def test_a_structure_that_cannot_be_simulated_is_set_aside_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cifs = write_cifs(tmp_path / "cifs", ("Ni", "MgO", "CeO2"))

    def failing(structure: Structure, settings: PdfSettings) -> SimulatedStructure:
        if structure.id == "MgO":
            raise StructureError("no_scattering", "MgO: the amplitudes cancel")
        return simulate_structure(structure, settings)

    monkeypatch.setattr(simulate, "simulate_structure", failing)
    with opened(tmp_path / "run", small_config(cifs)) as context:
        ingest.run(context)
        did = simulate.run(context)
        assert (did.simulated, did.quarantined) == (2, 1)
        again = simulate.run(context)
        assert (again.simulated, again.already_there, again.quarantined) == (0, 2, 1)
        assert [reject.id for reject in simulate.quarantined(context.run)] == ["MgO"]
        states = {stage.stage: stage.detail for stage in run_status(context.run, context.config)}
        assert "2 of 3 structures" in states["simulate"]
        assert "1 set aside" in states["simulate"]
