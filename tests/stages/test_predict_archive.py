"""Prediction over archives: one answer a frame whatever is wrong with others, and nothing lost or done twice."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from hpc_mlsm.archive.predictions import COLUMNS, Predictions
from hpc_mlsm.config.load import parse_config
from hpc_mlsm.errors import BundleError, PatternError, RunError
from hpc_mlsm.models.boosted import predict_margins, train_boosted
from hpc_mlsm.models.bundle import MANIFEST, Bundle, BundleInfo, save_bundle
from hpc_mlsm.models.classes import ClassEntry, MemberEntry
from hpc_mlsm.models.retrieval import Retrieval
from hpc_mlsm.models.settings import BoostedSettings
from hpc_mlsm.models.trust import VERDICTS
from hpc_mlsm.models.trust_fit import fit_trust
from hpc_mlsm.runtime.events import Event, SetAside
from hpc_mlsm.scattering.normalise import standardise
from hpc_mlsm.stages import predict_archive
from hpc_mlsm.stages.archive_frames import frame_series
from hpc_mlsm.stages.context import open_run
from hpc_mlsm.stages.predict_archive import ArchiveSummary, read_predictions
from hpc_mlsm.stages.run_directory import RunDirectory

R = np.round(1.0 + 0.1 * np.arange(120), 10)
CLASSES = 6


def made(n: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Curves with peaks at the places of their class."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(CLASSES), n)
    rows = []
    for label in labels:
        places = np.random.default_rng(int(label)).uniform(1.5, 12.5, 12) * (1 + 0.005 * rng.normal())
        rows.append(np.exp(-0.5 * ((R[:, None] - places) / rng.uniform(0.15, 0.25)) ** 2).sum(axis=1) - 0.7)
    return np.array(rows, dtype=np.float32), labels.astype(np.int64)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of six classes, trained in a moment."""
    (train, labels), (valid, own) = made(30, 0), made(12, 1)
    rows = [(standardise(train), labels), (standardise(valid), own)]
    settings = BoostedSettings(rounds=8, max_depth=3, subsample=1.0, colsample_bytree=1.0)
    folder = tmp_path_factory.mktemp("model")
    trained = train_boosted(lambda: iter([rows[0]]), lambda: iter([rows[1]]), CLASSES, settings, folder / "c", "f")
    retrieval = Retrieval.of(train, labels, CLASSES)

    def margins(patterns: NDArray[np.float32]) -> NDArray[np.float32]:
        return predict_margins(trained.booster, patterns, CLASSES)

    temperature, trust = fit_trust(margins, retrieval, *rows[1], ("r", R))
    info = BundleInfo("boosted", "r", "angstrom", tuple(R.tolist()), CLASSES, temperature, "f", "c", {})
    entries = tuple(
        ClassEntry(f"g{k}", (MemberEntry(f"s{k}", "Ni", 225, "F m -3 m", None, frozenset({"Ni"}), "nickel"),), f"s{k}")
        for k in range(CLASSES)
    )
    save_bundle(Bundle(info, entries, (), retrieval, bytes(trained.booster.save_raw("ubj")), trust), folder / "boosted")
    return folder / "boosted"


@pytest.fixture
def few_frames_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks of 16 frames."""
    monkeypatch.setattr(predict_archive, "MOST_FRAMES", 16)
    return


def stack(path: Path, frames: NDArray[np.floating]) -> Path:
    """A stack of frames on the model's grid."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs.update({"signal": "G", "axes": [".", "r"]})
        data["G"], data["r"] = frames, R[: frames.shape[1]]
        data["r"].attrs["units"] = "angstrom"
    return path


def predicted(
    folder: Path, archive: Path | str, model: Path, heard: list[Event] | None = None, *overrides: str
) -> tuple[ArchiveSummary, Predictions]:
    """Run the stage on an archive and read what it wrote."""
    config = parse_config({"executor": {"kind": "inline"}}, overrides)
    with open_run(RunDirectory(folder), config, (heard if heard is not None else []).append) as context:
        summary = predict_archive.run(context, [archive], model)
    return summary, read_predictions(summary.folder)[1]


def same(one: Predictions, two: Predictions) -> None:
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert one.rejects == two.rejects


@pytest.mark.usefixtures("few_frames_a_task")
def test_every_frame_has_an_answer_or_a_reason(tmp_path: Path, model: Path) -> None:
    frames, labels = made(10, 2)
    frames[3, 5], frames[7], frames[20] = np.nan, 0.0, 1.0
    frames[30, 60] = 1e4
    frames[41] = frames[40]
    frames[50] = np.random.default_rng(0).normal(size=len(R))
    heard: list[Event] = []
    summary, found = predicted(tmp_path / "run", stack(tmp_path / "a.h5", frames), model, heard)
    assert [(one.frame, one.reason) for one in found.rejects] == [
        (3, "not_finite"),
        (7, "constant"),
        (20, "constant"),
        (30, "spike"),
    ]
    assert [event.id for event in heard if isinstance(event, SetAside)] == [f"/data/G[{k}]" for k in (3, 7, 20, 30)]
    good = found.usable
    assert good.sum() == 56 == sum(summary.verdicts.values())
    good[[41, 50]] = False
    assert (found.classes[good, 0] == labels[good]).mean() > 0.95
    assert VERDICTS[found.verdict[50]] == "amorphous"
    assert found.duplicates()[41] == 40
    assert (summary.set_aside, summary.duplicates) == (4, 1)
    np.testing.assert_array_equal(found.frames, np.arange(60))


@pytest.mark.usefixtures("few_frames_a_task")
def test_a_second_call_does_nothing_and_a_longer_archive_only_the_rest(tmp_path: Path, model: Path) -> None:
    frames, _ = made(10, 2)
    archive = stack(tmp_path / "a.h5", frames[:48])
    _, first = predicted(tmp_path / "run", archive, model)
    shards = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("shard-*.h5")}
    assert len(shards) == 3
    again, _ = predicted(tmp_path / "run", archive, model)
    assert again.already_there == 48
    longer, found = predicted(tmp_path / "run", stack(archive, frames), model)
    assert (longer.already_there, len(found)) == (48, 60)
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("shard-*.h5")}
    assert shards.items() <= after.items()
    np.testing.assert_array_equal(found.classes[:48], first.classes)


@pytest.mark.usefixtures("few_frames_a_task")
def test_damaged_lost_and_unrecorded_shards_are_found(tmp_path: Path, model: Path) -> None:
    archive = stack(tmp_path / "a.h5", made(10, 2)[0])
    summary, first = predicted(tmp_path / "run", archive, model)
    one, two, *_ = sorted(summary.folder.glob("shard-*.h5"))
    one.write_bytes(one.read_bytes()[:-100])
    content = bytearray(two.read_bytes())
    content[len(content) // 2] ^= 1
    two.write_bytes(content)
    again, found = predicted(tmp_path / "run", archive, model)
    assert again.already_there in (28, 32)  # two of the shards of 16, 16, 16 and 12 frames were redone
    same(first, found)
    (summary.folder / "index.sqlite").unlink()
    adopted, found = predicted(tmp_path / "run", archive, model)
    assert adopted.already_there == 60
    same(first, found)


@pytest.mark.usefixtures("few_frames_a_task")
def test_another_coverage_or_another_model_is_predicted_anew(tmp_path: Path, model: Path) -> None:
    archive = stack(tmp_path / "a.h5", made(4, 2)[0])
    predicted(tmp_path / "run", archive, model)
    again, _ = predicted(tmp_path / "run", archive, model, None, "predict.coverage=0.8")
    assert again.already_there == 0
    assert len(list(again.folder.glob("shard-*.h5"))) == 2


def test_text_archives_answer_as_stacks_do(tmp_path: Path, model: Path) -> None:
    frames, _ = made(3, 2)
    folder = tmp_path / "text"
    folder.mkdir()
    for k, frame in enumerate(frames):
        np.savetxt(folder / f"f{k}.gr", np.stack([R, frame], axis=1), fmt="%.9g")
    _, of_text = predicted(tmp_path / "one", folder, model)
    _, of_stack = predicted(tmp_path / "two", stack(tmp_path / "a.h5", frames), model)
    same(of_text, of_stack)


@pytest.mark.slow
@pytest.mark.usefixtures("few_frames_a_task")
def test_workers_give_what_one_process_gives(tmp_path: Path, model: Path) -> None:
    archive = stack(tmp_path / "a.h5", made(10, 2)[0])
    _, inline = predicted(tmp_path / "one", archive, model)
    _, local = predicted(tmp_path / "two", archive, model, None, "executor.kind=local", "executor.workers=2")
    same(inline, local)


def test_a_shorter_range_sets_all_frames_aside_with_the_remedy(tmp_path: Path, model: Path) -> None:
    summary, found = predicted(tmp_path / "run", stack(tmp_path / "a.h5", made(2, 2)[0][:, :80]), model)
    assert summary.set_aside == 12
    assert {one.reason for one in found.rejects} == {"too_short"}
    assert "/data/G[11]: the pattern spans" in found.rejects[-1].detail


def test_an_archive_of_another_kind_is_refused(tmp_path: Path, model: Path) -> None:
    archive = stack(tmp_path / "a.h5", made(2, 2)[0])
    with pytest.raises(BundleError, match=r"holds powder patterns, and the model .* knows PDFs"):
        predicted(tmp_path / "run", archive, model, None, "predict.archive.kind=powder")
    with pytest.raises(BundleError, match="holds no trained model"):
        predicted(tmp_path / "run", archive, tmp_path / "nothing")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / MANIFEST).write_text('{"schema": 1}')
    with pytest.raises(BundleError, match=r"of version 1, this program needs 2.*hpc-mlsm train RUN"):
        predicted(tmp_path / "run", archive, tmp_path / "old")
    with pytest.raises(PatternError, match="there is no such file"):
        predicted(tmp_path / "run", tmp_path / "none.h5", model)


def test_a_full_disk_is_told_and_the_rest_is_done_when_there_is_room(
    tmp_path: Path, model: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict_archive, "MOST_FRAMES", 60)
    archive = stack(tmp_path / "a.h5", made(100, 2)[0])
    config = parse_config({"executor": {"kind": "inline"}})
    ballast = small_disk / "ballast"
    with open_run(RunDirectory(tmp_path / "run"), config, [].append) as context:
        folder = small_disk / "predictions"
        with pytest.raises(RunError, match="cannot be written: No space left on device"):
            _fill_then_run(context, archive, model, folder, ballast)
        ballast.unlink()
        assert not list(folder.glob(".*.part"))
        summary = predict_archive.run(context, [archive], model, folder)
    assert 0 < summary.already_there < 600
    assert len(read_predictions(folder)[1]) == 600


def _fill_then_run(context, archive: Path, model: Path, folder: Path, ballast: Path) -> None:
    done = predict_archive.PredictionStore.record

    def recording(self, record) -> None:
        done(self, record)
        if not ballast.exists():
            free = os.statvfs(folder)
            ballast.write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - 8192)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predict_archive.PredictionStore, "record", recording)
        predict_archive.run(context, [archive], model, folder)


KILLED = """
import sys
from hpc_mlsm.stages import predict_archive
predict_archive.MOST_FRAMES = 16
from hpc_mlsm.cli.main import main
main()
"""


@pytest.mark.slow
def test_a_killed_prediction_goes_on_with_nothing_lost_or_doubled(tmp_path: Path, model: Path) -> None:
    archive = stack(tmp_path / "a.h5", made(200, 2)[0])
    command = [sys.executable, "-c", KILLED, "predict", str(model), str(archive), "--out", str(tmp_path / "run")]
    command += ["--set", "executor.kind=inline"]
    folder = tmp_path / "run" / "predictions" / "archive"
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    end = time.monotonic() + 120
    while len(list(folder.glob("shard-*.h5"))) < 5:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    finished = {path.name: path.stat().st_mtime_ns for path in folder.glob("shard-*.h5")}
    assert 5 <= len(finished) < 75
    subprocess.run(command, check=True, capture_output=True, timeout=200)
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("shard-*.h5")}
    assert finished.items() <= after.items()
    _, found = read_predictions(folder)
    np.testing.assert_array_equal(found.frames, np.arange(1200))
    assert found.usable.all()


@pytest.mark.slow
@pytest.mark.usefixtures("few_frames_a_task")
def test_a_frame_that_kills_its_worker_is_set_aside_and_the_rest_goes_on(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = stack(tmp_path / "a.h5", made(8, 2)[0])
    _, whole = predicted(tmp_path / "whole", archive, model)
    root = Path(__file__).resolve().parents[2]
    monkeypatch.setenv("PYTHONPATH", f"{root / 'benchmarks' / '_recorder'}:{root}")
    monkeypatch.setenv("HPC_MLSM_POISON", "frame:21")
    overrides = ("executor.kind=local", "executor.workers=1", "executor.retries=0")
    heard: list[Event] = []
    run = tmp_path / "run"
    summary, found = predicted(run, archive, model, heard, *overrides)
    ((frame, reason, detail),) = [(one.frame, one.reason, one.detail) for one in found.rejects]
    assert (frame, reason) == (21, "killed_worker")
    assert detail.startswith("/data/G[21]: ")
    assert "crashes the process or needs more memory" in detail
    others = np.arange(48) != 21
    for name in COLUMNS:
        one, two = getattr(found, name)[others], getattr(whole, name)[others]
        # Products of fewer rows are rounded in another way.
        np.testing.assert_allclose(one, two, atol=1e-5 if one.dtype == np.float32 else 0, rtol=0)
    assert [event.id for event in heard if isinstance(event, SetAside)] == ["/data/G[21]"]
    assert len(list(summary.folder.glob("shard-*.h5"))) == 3, "parts of shards are left"
    # It is not read again: not by the same command, and not by the steps that follow, in this process or in others.
    again, _ = predicted(run, archive, model, None, *overrides)
    assert again.already_there == 48
    config = parse_config({"executor": {"kind": "local", "workers": 1}})
    index, predictions = read_predictions(summary.folder)
    with open_run(RunDirectory(run), config, heard.append) as context:
        shutil.copytree(model, context.run.model)
        series = frame_series(context, index, summary.folder / predict_archive.INDEX, predictions.rejects)
    np.testing.assert_array_equal(series.frames, np.flatnonzero(others))
    assert [one.frame for one in series.rejects] == [21]
