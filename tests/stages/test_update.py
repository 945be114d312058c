"""An update after structures came, changed, went and broke: against a run of the new state alone, and counted."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from small_run import FORMULAE, cif_text, opened, small_config, write_cifs

from hpc_mlsm.config.load import plain
from hpc_mlsm.grouping.groups import SavedGroups, load_groups
from hpc_mlsm.models.bundle import bundle_hash, bundle_info, load_bundle, read_manifest
from hpc_mlsm.runtime.events import Event, Note
from hpc_mlsm.stages import evaluate, group, ingest, predict, predict_archive, simulate, train, update
from hpc_mlsm.stages.archive_input import adopt_model, predictions_folder
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.update_record import UpdateFolder
from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.structures.starter import starter_set

OVERRIDES = ("group.threshold=0.8", "train.boosted.rounds=60", "train.boosted.early_stopping_rounds=2")


def scaled(folder: Path, formula: str, factor: float, name: str | None = None) -> None:
    """Write the CIF of a structure whose cell is larger by a factor."""
    structure = next(one for one in starter_set() if one.formula == formula)
    cell = structure.cell
    larger = replace(cell, a=cell.a * factor, b=cell.b * factor, c=cell.c * factor)
    (folder / f"{name or formula}.cif").write_text(cif_text(replace(structure, cell=larger)))


def built(run: Path, cifs: Path) -> None:
    """Every stage of a run from nothing."""
    with opened(run, small_config(cifs, *OVERRIDES)) as context:
        for stage in (ingest, simulate, group, train, evaluate, predict):
            stage.run(context)


def updated(run: Path, cifs: Path, heard: list[Event] | None = None) -> update.UpdateSummary:
    with opened(run, small_config(cifs, *OVERRIDES), heard) as context:
        return update.run(context)


def second_revision(cifs: Path) -> None:
    """One structure more, one changed, one gone, and one whose file is now a page of HTML."""
    write_cifs(cifs, ("LaB6",))
    scaled(cifs, "MgO", 1.06)
    (cifs / "Mg.cif").unlink()
    (cifs / "W.cif").write_text("<html><body>502 Bad Gateway</body></html>")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("update")
    cifs = write_cifs(folder / "cifs")
    scaled(cifs, "Ni", 1.001, "Ni-2")
    built(folder / "run", cifs)
    return folder / "run", cifs


@pytest.fixture
def copied(first: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    shutil.copytree(first[0], tmp_path / "run")
    shutil.copytree(first[1], tmp_path / "cifs")
    return tmp_path / "run", tmp_path / "cifs"


@pytest.fixture(scope="module")
def rebuilt(first: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the second revision alone."""
    folder = tmp_path_factory.mktemp("rebuilt")
    shutil.copytree(first[1], folder / "cifs")
    second_revision(folder / "cifs")
    with opened(folder / "run", small_config(folder / "cifs", *OVERRIDES)) as context:
        for stage in (ingest, simulate, group):
            stage.run(context)
    return folder / "run"


def assert_same_patterns_and_groups(one: Path, other: Path) -> None:
    """Equal but for ids and labels of groups, and rounding of what is summed in another order."""
    stores = [PatternStore.open(RunDirectory(run).patterns, "r") for run in (one, other)]
    assert stores[0].fingerprint() == stores[1].fingerprint()
    for store in stores:
        store.close()
    a, b = load_groups(RunDirectory(one).groups), load_groups(RunDirectory(other).groups)
    assert (a.fingerprint, a.digests, a.ids) == (b.fingerprint, b.digests, b.ids)
    for column in ("i", "j", "correlation"):
        np.testing.assert_array_equal(getattr(a.edges, column), getattr(b.edges, column))
    by_members = {found.members: found for found in a.groups}
    assert by_members.keys() == {found.members for found in b.groups}
    for found in b.groups:
        assert by_members[found.members].representative == found.representative
        assert by_members[found.members].min_correlation == pytest.approx(found.min_correlation, abs=1e-12)


def ids_by_member(saved: SavedGroups) -> dict[str, str]:
    return {member: one.id for one in saved.groups for member in one.members}


def test_an_update_comes_to_what_a_rebuild_does_and_does_only_what_is_new(
    copied: tuple[Path, Path], rebuilt: Path
) -> None:
    run, cifs = copied
    before = ids_by_member(load_groups(RunDirectory(run).groups))
    model = bundle_hash(RunDirectory(run).model)
    second_revision(cifs)
    summary = updated(run, cifs)
    assert_same_patterns_and_groups(run, rebuilt)
    changes = summary.record.changes
    assert (changes.added, changes.changed) == (("LaB6",), ("MgO",))
    assert (changes.withdrawn, [key for key, _ in changes.rejected]) == (("Mg",), ["W"])
    assert summary.simulated == 2
    n = len(FORMULAE)  # of 13 with Ni-2, two have gone and one has come
    # Two new ones in a panel of their own: against all places of the panel before, and against each other.
    assert summary.compared == 2 * (n + 1) + 4
    after = ids_by_member(load_groups(RunDirectory(run).groups))
    assert all(after[key] == before[key] for key in before.keys() & after.keys() - {"MgO"})
    assert after["Ni"] == after["Ni-2"]
    assert summary.record.before is not None
    assert summary.record.after is not None
    assert summary.record.before.bundle == model
    assert summary.record.after.bundle == bundle_hash(RunDirectory(run).model) != model
    assert summary.record.before.top_k["XGBoost"].keys() == summary.record.after.top_k["XGBoost"].keys()


def test_what_became_of_classes_is_in_the_groups_the_bundle_and_the_record(copied: tuple[Path, Path]) -> None:
    run, cifs = copied
    second_revision(cifs)
    before = load_groups(RunDirectory(run).groups)
    record = updated(run, cifs).record
    saved, info = load_groups(RunDirectory(run).groups), bundle_info(read_manifest(RunDirectory(run).model))
    assert (before.revision, saved.revision, info.revision) == (1, 2, 2)
    told = [(event.event, event.class_id) for event in saved.history]
    old = ids_by_member(before)
    assert ("retired", old["Mg"]) in told
    assert ("retired", old["W"]) in told
    assert ("added", ids_by_member(saved)["LaB6"]) in told
    assert [(event["event"], event["class_id"]) for event in record.events] == told
    assert [(event["event"], event["class_id"]) for event in info.class_history] == told


def test_an_update_without_changes_does_nothing_and_leaves_no_record(copied: tuple[Path, Path]) -> None:
    run, cifs = copied
    model = (RunDirectory(run).model / "bundle.json").read_bytes()
    summary = updated(run, cifs)
    assert summary.path is None
    assert (summary.simulated, summary.compared, summary.retrained) == (0, 0, False)
    assert (RunDirectory(run).model / "bundle.json").read_bytes() == model
    assert not list((run / "updates").iterdir())


def test_training_goes_on_where_the_classes_are_the_same_and_begins_anew_where_not(copied: tuple[Path, Path]) -> None:
    run, cifs = copied
    rounds = bundle_info(read_manifest(RunDirectory(run).model)).metrics["best_round"]
    scaled(cifs, "CeO2", 1.002)
    heard: list[Event] = []
    summary = updated(run, cifs, heard)
    assert summary.record.changes.changed == ("CeO2",)
    assert summary.record.warm_rounds == rounds
    assert summary.record.events == ()
    info = bundle_info(read_manifest(RunDirectory(run).model))
    assert info.metrics["resumed_from"] == rounds
    assert len(info.metrics["validation_losses"]) > rounds
    write_cifs(cifs, ("LaB6",))
    heard.clear()
    assert updated(run, cifs, heard).record.warm_rounds == 0
    assert any("begins anew: 1 classes have come" in note.text for note in heard if isinstance(note, Note))


def test_frames_that_now_get_another_answer_are_named(copied: tuple[Path, Path]) -> None:
    run, cifs = copied
    bundle = load_bundle(RunDirectory(run).model)
    held = {member.id: entry.class_id for entry in bundle.classes for member in entry.members}
    rows = (run / "predictions" / "predictions.csv").read_text().splitlines()
    assert len({row.split(",")[0] for row in rows[1:]}) == 3
    for formula in FORMULAE[:8]:  # most of what the samples were found to be is gone
        (cifs / f"{formula}.cif").unlink()
    (cifs / "Ni-2.cif").unlink()
    record = updated(run, cifs).record
    assert record.frames == 3
    gone = {held[formula] for formula in FORMULAE[:8]}
    found = {one.class_before for one in record.answers}
    assert found & gone
    now = {entry.class_id for entry in load_bundle(RunDirectory(run).model).classes}
    assert {one.class_now for one in record.answers} <= now
    assert all(one.class_before != one.class_now for one in record.answers)


def test_frames_of_archives_that_now_get_another_answer_are_named(copied: tuple[Path, Path], tmp_path: Path) -> None:
    run, cifs = copied
    samples = run / "predictions" / "samples"
    config = small_config(cifs, *OVERRIDES, f"predict.patterns=[{samples}]", "predict.samples=0")
    archive = RunDirectory(tmp_path / "archive")
    with opened(archive.path, config) as context:
        adopt_model(archive, run)
        predict_archive.run(context, [samples], folder=predictions_folder(archive))
    for formula in FORMULAE[:8]:
        (cifs / f"{formula}.cif").unlink()
    (cifs / "Ni-2.cif").unlink()
    old = bundle_hash(archive.model)
    with opened(run, small_config(cifs, *OVERRIDES, f"update.archives=[{archive.path}]")) as context:
        record = update.run(context).record
    assert record.frames == 3 + 3
    of_archive = [one for one in record.answers if one.predictions == str(archive.path)]
    of_run = [one for one in record.answers if one.predictions != str(archive.path)]
    assert {Path(one.frame).stem for one in of_archive} == {Path(one.frame).stem for one in of_run}
    assert {(one.class_before, one.class_now) for one in of_archive} == {
        (one.class_before, one.class_now) for one in of_run
    }
    assert bundle_hash(archive.model) == old


def test_updates_are_counted_and_each_tells_new_rejects_only(copied: tuple[Path, Path]) -> None:
    run, cifs = copied
    (cifs / "broken.cif").write_text("data_broken\n_cell_length_a nonsense\n")
    one = updated(run, cifs)
    assert [key for key, _ in one.record.changes.refused] == ["broken"]
    (cifs / "worse.cif").write_bytes(bytes(range(256)))
    two = updated(run, cifs)
    assert (one.record.number, two.record.number) == (1, 2)
    assert [key for key, _ in two.record.changes.refused] == ["worse"]
    assert not two.retrained
    assert two.path is not None
    assert json.loads(two.path.read_text())["finished"]


def started(config: Path, run: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "hpc_mlsm.cli.main", "update", str(config), "--run", str(run)]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


SHARDS = 1
"""Of the first revision."""

POINTS: dict[str, Callable[[RunDirectory], bool]] = {
    "begun": lambda run: (run.path / "updates" / "update-0001.json").exists(),
    "simulated": lambda run: len(list(run.patterns.glob("shard-*.h5"))) > SHARDS,
    "panels": lambda run: len(list((run.groups / "panels").glob("panel-*.h5"))) > 1,
    "grouped": lambda run: '"revision": 2' in (run.groups / "groups.json").read_text(),
    "training": lambda run: (run.checkpoints / "state.json").exists(),
    "trained": lambda run: bundle_info(read_manifest(run.model)).revision == 2,
}


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_an_update_that_is_killed_is_finished_by_the_next_one(
    copied: tuple[Path, Path], rebuilt: Path, tmp_path: Path, point: str
) -> None:
    run, cifs = copied
    model, at = bundle_hash(RunDirectory(run).model), RunDirectory(run)
    second_revision(cifs)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain(small_config(cifs, *OVERRIDES))))
    process = started(tmp_path / "config.yaml", run)
    end = time.monotonic() + 120
    while process.poll() is None and not POINTS[point](at):
        assert time.monotonic() < end
        time.sleep(0.002)
    assert process.poll() is None, "the update ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    pending = UpdateFolder(run / "updates").last()
    assert pending is not None
    assert not pending.finished
    assert load_bundle(at.model).info.n_classes > 0  # the old model or the new one, whole
    record = updated(run, cifs).record
    assert_same_patterns_and_groups(run, rebuilt)
    assert record.number == 1
    assert (record.changes.added, record.changes.changed) == (("LaB6",), ("MgO",))
    assert (record.changes.withdrawn, [key for key, _ in record.changes.rejected]) == (("Mg",), ["W"])
    assert record.before is not None
    assert record.before.bundle == model
    assert {event["event"] for event in record.events} >= {"retired", "added"}
    assert [path.name for path in (run / "updates").iterdir()] == ["update-0001.json"]
