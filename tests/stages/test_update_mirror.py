"""Two revisions of a database on a real rsync daemon: mirrored, updated, and compared with a rebuild of the second."""

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import yaml
from mirror_revisions import FEW, Roles, few_entries, first_revision, killed, number_of, ran, second_revision
from slurm_lab import REPOSITORY
from small_run import cif_text, opened, small_config
from test_update import assert_same_patterns_and_groups, ids_by_member

from hpc_mlsm.catalog.mirror import Mirror
from hpc_mlsm.catalog.rsync import Politeness
from hpc_mlsm.config.load import plain
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.errors import StructureError
from hpc_mlsm.grouping.groups import load_groups
from hpc_mlsm.models.bundle import Bundle, bundle_info, load_bundle, read_manifest
from hpc_mlsm.runtime.events import Event, ignore
from hpc_mlsm.stages import group, ingest, predict_archive, simulate, sync, update
from hpc_mlsm.stages.archive_input import adopt_model, predictions_folder
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.update_record import UpdateFolder, UpdateRecord
from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.structures.cif import parse_cif
from hpc_mlsm.structures.substituted import SubstitutedSettings

from rsync_daemon import daemon  # isort: skip  (mirror_revisions puts it on the path)

pytestmark = pytest.mark.skipif(shutil.which("rsync") is None, reason="the program rsync is not installed")

N = len(few_entries()) - len(FEW.added)
"""Entries of the first revision."""

QUICK = Politeness(bandwidth_kib_s=0, pause_s=0.0, silence_s=10, tries=2)
SMALL = ("simulate.variants=10", "train.boosted.rounds=30", "train.boosted.early_stopping_rounds=2")
JOBS = (
    "executor.kind=slurm",
    "executor.workers=2",
    "executor.interface=lo",
    "executor.memory_per_worker_mb=700",
    "train.workers=1",  # so that the program that is killed is the one that trains
)


@dataclass(frozen=True)
class Place:
    """A database, its mirror, and a run of the mirror, with the file that configures it."""

    folder: Path

    @property
    def tree(self) -> Path:
        return self.folder / "cod"

    @property
    def mirror(self) -> Path:
        return self.folder / "mirror"

    @property
    def run(self) -> RunDirectory:
        return RunDirectory(self.folder / "run")

    def config(self, *overrides: str) -> RunConfig:
        return small_config(self.mirror, *SMALL, *overrides)

    def config_file(self, *overrides: str) -> str:
        path = self.folder / "config.yaml"
        path.write_text(yaml.safe_dump(plain(self.config(*overrides))))
        return str(path)

    def sync(self) -> sync.SyncSummary:
        with daemon(self.tree, self.folder / "daemon") as source:
            return sync.run(sync.SyncRequest(source, self.mirror, (), QUICK), ignore)

    def update(self, *overrides: str, heard: list[Event] | None = None) -> update.UpdateSummary:
        with opened(self.run.path, self.config(*overrides), heard) as context:
            return update.run(context)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The first revision, mirrored, and everything made of it by an update of a run that is not there yet."""
    place = Place(tmp_path_factory.mktemp("first"))
    first_revision(place.tree, few_entries(), FEW)
    assert place.sync().added == N
    assert place.update().simulated == N
    return place


@pytest.fixture(scope="module")
def rebuilt(first: Place, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A mirror and a run of the second revision alone."""
    place = Place(tmp_path_factory.mktemp("rebuilt"))
    shutil.copytree(first.tree, place.tree)
    second(place)
    with opened(place.run.path, place.config()) as context:
        for stage in (ingest, simulate, group):
            stage.run(context)
    return place.run


@pytest.fixture
def copied(first: Place, tmp_path: Path) -> Place:
    shutil.copytree(first.folder, tmp_path / "place")
    return Place(tmp_path / "place")


def second(place: Place) -> sync.SyncSummary:
    """The second revision, mirrored."""
    second_revision(place.tree, few_entries(), FEW)
    return place.sync()


def assert_told(record: UpdateRecord, roles: Roles) -> None:
    """The record says what the second revision has otherwise."""
    changes = record.changes
    assert (changes.added, changes.changed) == (roles.numbers("added"), roles.numbers("changed"))
    assert changes.withdrawn == roles.numbers("withdrawn")
    assert tuple(key for key, _ in changes.rejected) == roles.numbers("broken")


def test_an_update_from_a_mirror_comes_to_what_a_rebuild_does(copied: Place, rebuilt: RunDirectory) -> None:
    place = copied
    before = ids_by_member(load_groups(place.run.groups))
    synced = second(place)
    assert (synced.added, synced.changed, synced.withdrawn) == (2, 2 + 1 + 2, 2)
    with Mirror(place.mirror) as mirror:
        assert set(mirror.tombstones().values()) == {2}
    heard: list[Event] = []
    summary = place.update(heard=heard)
    assert_same_patterns_and_groups(place.run.path, rebuilt.path)
    assert_told(summary.record, FEW)
    # Counted: no structure is simulated whose text alone is another, nor compared with those that it was compared with.
    new = len(FEW.added) + len(FEW.changed)
    assert summary.simulated == new
    assert summary.compared == new * N + new**2
    after = ids_by_member(load_groups(place.run.groups))
    kept = before.keys() & after.keys() - {*FEW.numbers("changed")}
    assert len(kept) == summary.record.changes.unchanged == N - 2 - 2 - 2
    assert {after[key] for key in kept} == {before[key] for key in kept}
    metrics = bundle_info(read_manifest(place.run.model)).metrics
    assert len(metrics["validation_losses"]) > summary.record.warm_rounds == 0
    assert place.update().path is None


def frames(place: Place, folder: Path, ids: list[str]) -> Path:
    """Patterns of some structures as files with two columns."""
    folder.mkdir()
    with PatternStore.open(place.run.patterns, "r") as store:
        r = store.axis().values
        for key in ids:
            np.savetxt(folder / f"{key}.gr", np.column_stack([r, store.patterns_of(key)[0][3]]), "%.8g")
    return folder


def answers(bundle: Bundle, folder: Path) -> dict[str, str]:
    """The class that comes first, of each file, on the grid of the model."""
    patterns = {path.name: np.loadtxt(path)[:, 1] for path in sorted(folder.glob("*.gr"))}
    first = bundle.probabilities(np.stack(list(patterns.values())).astype(np.float32)).argmax(axis=1)
    return {name: bundle.classes[label].class_id for name, label in zip(patterns, first, strict=True)}


def test_frames_of_a_registered_archive_that_would_now_get_another_answer_are_reported(
    copied: Place, tmp_path: Path
) -> None:
    place, archive = copied, RunDirectory(tmp_path / "archive")
    folder = frames(place, tmp_path / "night", [number_of(k) for k in (0, 1, 2, 3, 4, 6, 8, 10, 25, 27)])
    old = load_bundle(place.run.model)
    with opened(archive.path, place.config(f"predict.patterns=[{folder}]", "predict.samples=0")) as context:
        adopt_model(archive, place.run.path)
        predict_archive.run(context, [folder], folder=predictions_folder(archive))
    second(place)
    record = place.update(f"update.archives=[{archive.path}]").record
    was, now = answers(old, folder), answers(load_bundle(place.run.model), folder)
    merged = {event["class_id"]: event["others"] for event in record.events if event["event"] == "merged"}
    other = {name for name in was if now[name] != was[name] and now[name] not in merged.get(was[name], ())}
    told = {Path(one.frame).name: one for one in record.answers if one.predictions == str(archive.path)}
    assert record.frames == len(was)
    assert told.keys() == other
    assert {f"{number_of(0)}.gr"} <= other < was.keys()  # its structure was withdrawn
    assert all((told[name].class_before, told[name].class_now) == (was[name], now[name]) for name in told)


IN_SYNC = {
    "in the middle of a range": ("hpc_mlsm.stages.sync:fetch", 1),
    "between ranges": ("hpc_mlsm.stages.sync:_sync_range", 1),
}
IN_UPDATE = {
    "in ingest": ("hpc_mlsm.stages.ingest:store_result", 2),
    "after ingest": ("hpc_mlsm.stages.ingest:close_revision", 1),
    "in simulate": ("hpc_mlsm.stages.simulate:PatternStore.record", 1),
    "in group": ("hpc_mlsm.stages.group:find_edges", 1),
    "in train": ("hpc_mlsm.models.boosted_rounds:save_checkpoint", 2),
    "at the end": ("hpc_mlsm.stages.update:changed_answers", 1),
}
"""Where programs kill themselves, one after the other: a function, and how often it has returned."""

IN_SMALL_TASKS = (
    "import hpc_mlsm.catalog.ingest as one; one.FILES_PER_TASK = 3",
    "import hpc_mlsm.stages.correlate as two; two.HERE_S, two.PANEL_ROWS = 0.0, 8",
)


def killed_again_and_again(place: Place, rebuilt: RunDirectory, *overrides: str) -> None:
    """Mirror the second revision and update, both killed wherever they can be, then finished; nothing is lost."""
    second_revision(place.tree, few_entries(), FEW)
    with daemon(place.tree, place.folder / "again") as source:
        asked = ["catalog", "sync", source, str(place.mirror), "--bandwidth", "0", "--pause", "0"]
        for at, after in IN_SYNC.values():
            killed(asked, at, after)
        ran(*asked)
    told = ["update", place.config_file(*overrides), "--run", str(place.run.path)]
    for at, after in IN_UPDATE.values():
        killed(told, at, after, *IN_SMALL_TASKS)
    ran(*told)
    with Mirror(place.mirror) as mirror:
        last = mirror.last_sync(finished=True)
        assert last is not None
        assert last.number == 2
    assert_same_patterns_and_groups(place.run.path, rebuilt.path)
    record = UpdateFolder(place.run.path / "updates").last()
    assert record is not None
    assert (record.number, record.finished) == (2, True)
    assert_told(record, FEW)
    assert record.after is not None
    assert load_bundle(place.run.model).info.n_classes == record.after.classes


@pytest.mark.slow
def test_what_is_killed_again_and_again_is_finished_by_the_same_commands(copied: Place, rebuilt: RunDirectory) -> None:
    killed_again_and_again(copied, rebuilt)


@pytest.mark.slurm
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_on_a_cluster_too_and_the_jobs_of_killed_programs_end(
    slurm_lab: Path, copied: Place, rebuilt: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_spec("dask_jobqueue") is None:
        pytest.skip("no dask_jobqueue here: pip install hpc_mlsm[cluster]")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))
    before = jobs()
    killed_again_and_again(copied, rebuilt, *JOBS)
    deadline = time.monotonic() + 120
    while left := jobs() - before:
        assert time.monotonic() < deadline, f"jobs {left} of killed programs do not end"
        time.sleep(1)


def jobs() -> set[str]:
    """Numbers of all jobs in the queue."""
    return set(subprocess.run(["squeue", "-h", "-o", "%A"], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.slow
@pytest.mark.reference
def test_real_entries_from_a_mirror_come_to_what_a_rebuild_does(shared_data: Path, tmp_path: Path) -> None:
    """450 CIFs as people wrote them, some of which are refused, and 50 that are made up."""
    settings = ("group.threshold=0.95", "train.boosted.rounds=2", "train.boosted.max_depth=2")
    texts = [path.read_bytes().decode("latin-1") for path in sorted((shared_data / "cod").rglob("*.cif"))]
    texts += [cif_text(SubstitutedSettings().made(number)) for number in range(50)]
    whole = [place for place, text in enumerate(texts) if place % 4 == 0 and plainly_usable(text)]
    roles = Roles(*(tuple(whole[k::25]) for k in range(5)))
    place, alone = Place(tmp_path / "place"), Place(tmp_path / "alone")
    first_revision(place.tree, texts, roles)
    place.sync()
    place.update(*settings)
    first_revision(alone.tree, texts, roles)
    for one in (place, alone):
        second_revision(one.tree, texts, roles)
        one.sync()
    summary = place.update(*settings)
    with opened(alone.run.path, alone.config(*settings)) as context:
        for stage in (ingest, simulate, group):
            stage.run(context)
    assert_same_patterns_and_groups(place.run.path, alone.run.path)
    assert_told(summary.record, roles)
    assert summary.simulated == len(roles.added) + len(roles.changed) == 10


def plainly_usable(text: str) -> bool:
    """Whether one structure comes of a CIF."""
    try:
        structures, rejects = parse_cif(text.encode(), "one", "one.cif")
    except StructureError:
        return False
    return len(structures) == 1 and not rejects
