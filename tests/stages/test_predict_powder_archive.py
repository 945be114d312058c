"""Archives of powder patterns, whatever their form, get the answers that their patterns get one by one."""

import csv
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from powder_archives import CUBIC, GRID, TETRAGONAL, WAVELENGTH, forest, frames, measured, write_columns, write_stack
from typer.testing import CliRunner

from hpc_mlsm.archive.pattern import Pattern
from hpc_mlsm.archive.powder_answers import answer_patterns
from hpc_mlsm.archive.powder_settings import MeasuredPowderSettings
from hpc_mlsm.archive.predictions import COLUMNS, NOT_JUDGED, Predictions
from hpc_mlsm.cli.main import app
from hpc_mlsm.config.load import parse_config
from hpc_mlsm.errors import BundleError, PatternError, RunError
from hpc_mlsm.models.cnn_bundle import CnnBundle, CnnInfo, save_cnn
from hpc_mlsm.models.cnn_model import CnnModel
from hpc_mlsm.models.cnn_settings import CnnSettings
from hpc_mlsm.models.forest_bundle import save_forest
from hpc_mlsm.models.powder_models import load_powder_model
from hpc_mlsm.runtime.events import ignore
from hpc_mlsm.stages import predict_archive
from hpc_mlsm.stages.context import open_run
from hpc_mlsm.stages.predict_archive import ArchiveSummary, read_predictions
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.structures.labels import CRYSTAL_SYSTEMS

N = 12
X, Y = frames(N)
LABELS = [(CUBIC, TETRAGONAL)[k % 2] for k in range(N)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models of a run."""
    folder = tmp_path_factory.mktemp("run") / "models"
    save_forest(forest("random_forest"), folder / "forest")
    save_forest(forest("extra_trees"), folder / "extra_trees")
    return folder


@pytest.fixture
def few_frames_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks of 5 frames."""
    monkeypatch.setattr(predict_archive, "MOST_FRAMES", 5)


def predicted(folder: Path, archive: Path | str, model: Path, *overrides: str) -> tuple[ArchiveSummary, Predictions]:
    """Run the stage on an archive and read what it wrote."""
    config = parse_config({"executor": {"kind": "inline"}}, overrides)
    with open_run(RunDirectory(folder), config, ignore) as context:
        summary = predict_archive.run(context, [archive], model)
    return summary, read_predictions(summary.folder)[1]


def same(one: Predictions, two: Predictions) -> None:
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def one_by_one(model: Path, settings: MeasuredPowderSettings | None = None) -> NDArray[np.float64]:
    """Probabilities of the patterns when each is read by itself."""
    patterns = [Pattern(f"p{k}", X, y, "two_theta", "degree") for k, y in enumerate(Y)]
    answers, _ = answer_patterns([load_powder_model(model)], patterns, settings or MeasuredPowderSettings())
    return np.array([answer.probabilities[0] for answer in answers])


def as_form(form: str, place: Path) -> Path:
    """The patterns as an archive of that form."""
    if form == "stack":
        return write_stack(place / "a.h5", X, Y)
    folder = place / "folder"
    folder.mkdir()
    for k, y in enumerate(Y):
        write_columns(folder / f"s{k}.xy", X, y)
    if form == "folder":
        return folder
    if form == "zip":
        with zipfile.ZipFile(place / "a.zip", "w") as archive:
            for path in folder.iterdir():
                archive.write(path, f"inside/{path.name}")
        return place / "a.zip"
    with tarfile.open(place / "a.tar.gz", "w:gz") as tar:
        tar.add(folder, "inside")
    return place / "a.tar.gz"


@pytest.mark.usefixtures("few_frames_a_task")
@pytest.mark.parametrize("form", ["stack", "folder", "zip", "tar.gz"])
def test_every_form_gets_the_answers_that_its_patterns_get_one_by_one(tmp_path: Path, models: Path, form: str) -> None:
    summary, found = predicted(tmp_path / "run", as_form(form, tmp_path), models / "forest")
    expected = one_by_one(models / "forest")
    order = np.argsort(-expected, axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(found.classes, order)
    np.testing.assert_allclose(found.probabilities, np.take_along_axis(expected, order, axis=1), rtol=1e-6)
    assert found.classes[:, 0].tolist() == LABELS
    assert set(found.verdict) == {NOT_JUDGED}
    assert not found.calibrated
    assert np.isnan(found.known).all()
    assert (summary.verdicts, summary.systems["cubic"], summary.calibrated) == ({"not judged": N}, N // 2, False)
    assert len(list(summary.folder.glob("shard-*.h5"))) == 3


def test_frames_that_cannot_be_used_are_set_aside_with_their_reasons(tmp_path: Path, models: Path) -> None:
    y = Y.copy()
    y[1, 7], y[2], y[3] = np.nan, 5.0, y[3] - 1500
    y[4] = 100.0 + 1000 * np.exp(-(((X - 40.0) / 0.1) ** 2))
    stack = write_stack(tmp_path / "a.h5", X, y)
    _, found = predicted(tmp_path / "run", stack, models / "forest")
    assert [(one.frame, one.reason) for one in found.rejects] == [
        (1, "not_finite"),
        (2, "constant"),
        (3, "negative"),
        (4, "few_peaks"),
    ]
    assert "/entry/data/counts[4]: 1 peaks" in found.rejects[3].detail
    assert found.classes[5:, 0].tolist() == LABELS[5:]
    summary, guessed = predicted(tmp_path / "run", stack, models / "forest", "predict.powder.min_peaks=1")
    assert summary.already_there == 0
    assert guessed.usable[4]
    assert "1 peaks in the model's range" in guessed.notes[guessed.note[4]]


@pytest.mark.parametrize(
    ("name", "unit", "convert", "overrides"),
    [
        ("q", "1/angstrom", lambda x: 4 * np.pi * np.sin(np.radians(x / 2)) / WAVELENGTH, ()),
        ("q", "1/nm", lambda x: 40 * np.pi * np.sin(np.radians(x / 2)) / WAVELENGTH, ()),
        ("x", "", lambda x: 4 * np.pi * np.sin(np.radians(x / 2)) / WAVELENGTH, ("predict.powder.axis=q",)),
        ("two_theta", "rad", np.radians, ()),
        ("two_theta", "", np.radians, ("predict.powder.axis=radians",)),
        ("two_theta", "deg", lambda x: 2 * np.degrees(np.arcsin(np.sin(np.radians(x / 2)) * 0.5)),
         (f"predict.powder.wavelength={WAVELENGTH / 2}",)),
    ],
)  # fmt: skip
def test_whatever_a_stack_is_measured_against_its_answers_are_the_same(
    tmp_path: Path, models: Path, name: str, unit: str, convert: object, overrides: tuple[str, ...]
) -> None:
    stack = write_stack(tmp_path / "a.h5", convert(X), Y, name, unit)  # type: ignore[operator]
    _, found = predicted(tmp_path / "run", stack, models / "forest", *overrides)
    assert found.classes[:, 0].tolist() == LABELS


def test_the_wavelength_of_a_stack_is_believed(tmp_path: Path, models: Path) -> None:
    stack = write_stack(tmp_path / "a.h5", 2 * np.degrees(np.arcsin(np.sin(np.radians(X / 2)) * 0.5)), Y)
    with h5py.File(stack, "a") as file:
        file["entry/data/counts"].attrs["wavelength"] = WAVELENGTH / 2
    _, found = predicted(tmp_path / "run", stack, models / "forest")
    assert found.classes[:, 0].tolist() == LABELS


def test_an_abscissa_that_cannot_be_degrees_is_named_with_the_options(tmp_path: Path, models: Path) -> None:
    stack = write_stack(tmp_path / "a.h5", np.radians(X), Y, unit="")
    summary, found = predicted(tmp_path / "run", stack, models / "forest")
    assert (summary.set_aside, {one.reason for one in found.rejects}) == (N, {"looks_like_radians"})
    assert "predict.powder.axis = degrees, radians or q" in found.rejects[0].detail


def test_archives_of_pdfs_and_of_two_units_are_refused_in_words(tmp_path: Path, models: Path) -> None:
    stack = write_stack(tmp_path / "a.h5", X, Y, "r", "angstrom")
    with pytest.raises(BundleError, match=r"holds PDFs, and the model .* knows powder patterns"):
        predicted(tmp_path / "run", stack, models / "forest")
    folder = tmp_path / "two"
    folder.mkdir()
    write_columns(folder / "a.xy", X, Y[0], "# 2theta(deg) counts\n")
    write_columns(folder / "b.xy", X / 10, Y[0], "# q(1/A) counts\n")
    with pytest.raises(PatternError, match="two kinds of abscissa in one archive"):
        predicted(tmp_path / "run", folder, models / "forest")


def test_files_of_diffractometers_are_read_from_folders_and_zip_files(tmp_path: Path, models: Path) -> None:
    counts = np.round(Y[0] / Y[0].max() * 1000)
    points = f'<positions axis="2Theta" unit="deg"><startPosition>{X[0]}</startPosition><endPosition>{X[-1]}'
    points += f'</endPosition></positions><counts unit="counts">{" ".join(f"{y:.0f}" for y in counts)}</counts>'
    scan = f"<scan scanAxis='Gonio'><dataPoints>{points}</dataPoints></scan>"
    head = '<?xml version="1.0"?><xrdMeasurements xmlns="http://www.xrdml.com/XRDMeasurement/1.5"><xrdMeasurement>'
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, scans in (("one.xrdml", scan), ("two.xrdml", 2 * scan)):
            archive.writestr(name, f"{head}{scans}</xrdMeasurement></xrdMeasurements>")
        archive.writestr("three.gr", "no powder pattern")
    _, found = predicted(tmp_path / "run", tmp_path / "a.zip", models / "forest")
    assert found.classes[0, 0] == CUBIC
    assert [(one.frame, one.reason) for one in found.rejects] == [(1, "several_scans")]


@pytest.mark.usefixtures("few_frames_a_task")
def test_only_what_is_missing_is_predicted(tmp_path: Path, models: Path) -> None:
    stack = write_stack(tmp_path / "a.h5", X, Y[:10])
    _, first = predicted(tmp_path / "run", stack, models / "forest")
    again, _ = predicted(tmp_path / "run", stack, models / "forest")
    assert again.already_there == 10
    longer, found = predicted(tmp_path / "run", write_stack(stack, X, Y), models / "forest")
    assert (longer.already_there, len(found)) == (10, N)
    np.testing.assert_array_equal(found.probabilities[:10], first.probabilities)
    for change in ("predict.powder.background=none", "predict.powder.wavelength=1.54"):
        other, _ = predicted(tmp_path / "run", stack, models / "forest", change)
        assert other.already_there == 0
    extra, _ = predicted(tmp_path / "run", stack, models / "extra_trees")
    assert extra.already_there == 0


def _called(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def test_a_bundle_and_a_run_answer_archives_on_the_command_line(tmp_path: Path, models: Path) -> None:
    stack = write_stack(tmp_path / "a.h5", X, Y)
    said = _called("predict", models / "forest", f"{stack}::/entry/data", "--out", tmp_path / "out", "--min-peaks", 5)
    assert "shares of votes, not calibrated" in " ".join(said.split())
    run = RunDirectory(models.parent, "powder")
    run.save(parse_config({"simulate": {"kind": "powder"}, "executor": {"kind": "inline"}}))
    assert f"all models agree on {N} of {N} frames" in _called("predict", run.path, stack)
    table = pq.read_table(run.predictions / "archive" / "frames.parquet")
    rows = list(csv.DictReader((run.predictions / "archive" / "frames.csv").read_text().splitlines()))
    assert [row["forest_1"] for row in rows] == ["cubic", "tetragonal"] * (N // 2) == table["extra_trees_1"].to_pylist()
    np.testing.assert_array_equal(table["temperature"], 300.0 + np.arange(N))
    assert table.schema.metadata[b"forest.calibrated"] == b"false"
    assert table.schema.metadata[b"unit.temperature"] == b"K"
    expected = np.sort(one_by_one(models / "forest"), axis=1)[:, ::-1]
    np.testing.assert_allclose(table["forest_probability_1"], expected[:, 0], rtol=1e-6)


def test_more_files_than_are_looked_at_one_by_one_are_an_archive(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpc_mlsm.archive.opening.FEW_FILES", 3)
    assert f"{N} frames" in _called(
        "predict", models / "forest", as_form("folder", tmp_path), "--out", tmp_path / "out"
    )


def test_the_network_and_the_settings_that_models_share_are_told_apart(models: Path) -> None:
    from hpc_mlsm.archive.load_classifier import load_classifier

    settings = MeasuredPowderSettings()
    one = load_classifier(models / "forest", settings)
    assert load_classifier(models / "forest", settings) is one
    other = load_classifier(models / "forest", replace(settings, background="none"))
    assert other.preparation != one.preparation
    with pytest.raises(BundleError, match="holds no trained model"):
        load_classifier(models, settings)


def test_an_archive_run_ends_with_components_and_a_report_of_crystal_systems(tmp_path: Path, models: Path) -> None:
    y = Y.copy()
    y[2] = np.nan
    stack, run = write_stack(tmp_path / "a.h5", X, y), RunDirectory(tmp_path / "run")
    options = ["--set", "executor.kind=inline", "--set", "decompose.components=2", "--set", "decompose.starts=2"]
    words = ["archive", stack, "--model", models / "forest", "--out", run.path, *options]
    said = _called(*words)
    assert [line.split(":")[0] for line in said.splitlines() if re.match("[a-z]+: ", line)] == [
        "predict",
        "decompose",
        "report",
    ]
    table = pq.read_table(run.archive / "frames.parquet")
    assert table["candidate_1"].to_pylist() == [
        "" if k == 2 else ("cubic", "tetragonal")[k % 2] for k in range(N)
    ]  # fmt: skip
    assert table["verdict"].to_pylist() == ["set aside" if k == 2 else "not judged" for k in range(N)]
    assert table.schema.metadata[b"calibrated"] == b"false"
    with h5py.File(run.archive / "archive.nxs") as file:
        assert file["entry/components/two_theta"].attrs["units"] == "degree"
        assert file["entry/components/intensity"].shape == (2, GRID[2])
        assert not file["entry/candidates"].attrs["calibrated"]
        assert file["entry/weights/component_2"].shape == (N - 1,)
        assert (
            file["entry/components/candidates"].asstr()[0].split(" ")[0] in load_powder_model(models / "forest").classes
        )
    page = run.morning_report.read_text()
    assert "votes and not calibrated" in page
    assert "not judged" in page
    assert "Refinement" not in page
    shutil.rmtree(tmp_path / "run" / "reports")
    assert "(unchanged)" in _called("archive", run.path, *options)
    with pytest.raises(RunError, match="refined against PDFs only"):
        CliRunner().invoke(app, [str(one) for one in [*words, "--only", "refine"]], catch_exceptions=False)


def test_an_archive_run_needs_one_of_the_models_of_a_run(tmp_path: Path, models: Path) -> None:
    RunDirectory(models.parent, "powder").save(parse_config({"simulate": {"kind": "powder"}}))
    with pytest.raises(BundleError, match=r"has trained 2 models of powder patterns.*takes one, such as .*extra_trees"):
        CliRunner().invoke(
            app,
            ["archive", "a.h5", "--model", str(models.parent), "--out", str(tmp_path / "run")],
            catch_exceptions=False,
        )


@pytest.mark.slow
@pytest.mark.usefixtures("few_frames_a_task")
def test_workers_give_what_one_process_gives(tmp_path: Path, models: Path) -> None:
    stack = write_stack(tmp_path / "a.h5", X, Y)
    _, inline = predicted(tmp_path / "one", stack, models / "forest")
    _, local = predicted(tmp_path / "two", stack, models / "forest", "executor.kind=local", "executor.workers=2")
    same(inline, local)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="tensorflow is not installed (extra cnn)")
@pytest.mark.usefixtures("few_frames_a_task")
def test_a_network_has_calibrated_probabilities_the_same_on_any_executor(tmp_path: Path) -> None:
    from hpc_mlsm.models.cnn_networks import build_network

    settings = CnnSettings(widths=(8, 16), device="cpu", threads=1)
    weights = build_network(settings, GRID[2], len(CRYSTAL_SYSTEMS)).get_weights()
    rows = dict.fromkeys(CRYSTAL_SYSTEMS, 1)
    info = CnnInfo(CRYSTAL_SYSTEMS, GRID, WAVELENGTH, 1.0, "made for a test", rows, {"background": True})
    model = CnnModel.of(settings, GRID[2], len(CRYSTAL_SYSTEMS), weights)
    save_cnn(CnnBundle(info, model), tmp_path / "cnn")
    stack = write_stack(tmp_path / "a.h5", X, Y)
    _, inline = predicted(tmp_path / "one", stack, tmp_path / "cnn", "predict.top_k=7")
    _, local = predicted(tmp_path / "two", stack, tmp_path / "cnn", "predict.top_k=7", "executor.kind=local")
    same(inline, local)
    assert inline.calibrated
    # The network learnt patterns with their background, and so is asked about them.
    expected = one_by_one(tmp_path / "cnn")
    np.testing.assert_allclose(inline.probabilities, -np.sort(-expected, axis=1), atol=1e-5)


KILLED = """
import sys
from hpc_mlsm.stages import predict_archive
predict_archive.MOST_FRAMES = 4
from hpc_mlsm.cli.main import main
main()
"""


@pytest.mark.slow
def test_a_killed_prediction_goes_on_with_nothing_lost_or_doubled(tmp_path: Path, models: Path) -> None:
    stack = write_stack(tmp_path / "a.h5", X, np.tile(Y, (20, 1)))
    command = [sys.executable, "-c", KILLED, "predict", str(models / "forest"), str(stack), "--out"]
    command += [str(tmp_path / "run"), "--set", "executor.kind=inline"]
    folder = tmp_path / "run" / "predictions" / "archive" / "forest"
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    end = time.monotonic() + 120
    while len(list(folder.glob("shard-*.h5"))) < 5:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    finished = {path.name: path.stat().st_mtime_ns for path in folder.glob("shard-*.h5")}
    assert 5 <= len(finished) < 60
    subprocess.run(command, check=True, capture_output=True, timeout=200)
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("shard-*.h5")}
    assert finished.items() <= after.items()
    _, found = read_predictions(folder)
    np.testing.assert_array_equal(found.frames, np.arange(20 * N))
    assert found.classes[:, 0].tolist() == 20 * LABELS
    assert (found.duplicates() >= 0).sum() == 19 * N


def test_one_noisy_frame_more_or_less_changes_no_other(tmp_path: Path, models: Path) -> None:
    _, whole = predicted(tmp_path / "a", write_stack(tmp_path / "a.h5", X, Y), models / "forest")
    y = Y.copy()
    y[0] = measured(4.4, 5.9, seed=99)[1]
    _, other = predicted(tmp_path / "b", write_stack(tmp_path / "b.h5", X, y), models / "forest")
    np.testing.assert_array_equal(whole.probabilities[1:], other.probabilities[1:])
