"""A whole archive: steps in order, resumed after a kill at any of them, the same on any executor."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from hpc_mlsm.archive.synthetic_archive import Crystallisation, write_synthetic_archive
from hpc_mlsm.cli.commands import predict_patterns
from hpc_mlsm.cli.refine_commands import refine_patterns
from hpc_mlsm.cli.summaries import archive_plan_table
from hpc_mlsm.config.load import parse_config
from hpc_mlsm.config.site import SiteProfile
from hpc_mlsm.decomposition.result_file import load_decomposition
from hpc_mlsm.errors import HpcMlsmError
from hpc_mlsm.runtime.events import EventBus, TaskFinished, ignore
from hpc_mlsm.scattering.conditions import PdfGrid
from hpc_mlsm.stages import archive, evaluate, group, ingest, simulate, train
from hpc_mlsm.stages.archive_plan import plan_archive
from hpc_mlsm.stages.context import open_run
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.status import run_status
from hpc_mlsm.stages.submit import job_scripts
from hpc_mlsm.structures.starter import starter_set

FRAMES = 90
PHASES = ("NaCl", "Si")
TRAINING = {
    "name": "small",
    "select": {"allowed": ["Na", "Cl", "Si", "Ni", "C", "Mg", "O"]},
    "simulate": {"grid": {"r_min": 1.5, "r_max": 20.0, "r_step": 0.1}, "variants": 12, "diameter": [0.0, 40.0]},
    "train": {"boosted": {"rounds": 12, "max_depth": 3}},
    "executor": {"kind": "inline"},
}


def _config(stack: Path, model: Path, **executor: object):
    return parse_config(
        {
            "name": "night",
            "predict": {"patterns": [str(stack)], "model": str(model)},
            "decompose": {"starts": 2, "components": 3, "fit_frames": 60, "matrix_frames": 60},
            "refine": {"fit": {"r_max": 15.0, "search": False}, "budget": {"candidates": 1, "fits": 40}},
            "executor": {"kind": "inline"} | executor,
        }
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small run, trained on a few structures of the starter set."""
    run = RunDirectory(tmp_path_factory.mktemp("trained") / "run")
    with open_run(run, parse_config(TRAINING), ignore) as context:
        for stage in (ingest, simulate, group, train, evaluate):
            stage.run(context)
    return run.path


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """A small crystallisation, with one frame that cannot be used."""
    path = tmp_path_factory.mktemp("archive") / "night.h5"
    phases = [next(one for one in starter_set() if one.formula == formula) for formula in PHASES]
    write_synthetic_archive(path, phases, Crystallisation(frames=FRAMES, grid=PdfGrid(0.0, 21.0, 0.1), noise=0.03))
    with h5py.File(path, "a") as file:
        file["entry/data/G"][7, 30] = np.nan
    return path


def _run(config, path, listener=ignore, steps=archive.STEPS):
    with open_run(RunDirectory(path), config, listener) as context:
        return [archive.run_step(context, step) for step in steps]


@pytest.fixture(scope="module")
def answered(model, stack, tmp_path_factory):
    path = tmp_path_factory.mktemp("night") / "run"
    return path, _run(_config(stack, model), path)


def test_an_archive_comes_back_with_phases_components_fits_and_a_report(answered):
    _, (predicted, taken_apart, refined, written) = answered
    assert predicted.frames == FRAMES
    assert predicted.set_aside == taken_apart.set_aside == 1
    assert taken_apart.frames == FRAMES - 1
    assert refined.fits > 0
    assert sum(written.counts.values()) == FRAMES
    text = written.report.read_text()
    assert "What is there, and when" in text
    assert "The archive is synthetic (simulated, not measured: crystallisation of" in text
    with h5py.File(written.result) as file:
        weights = np.stack([file[f"entry/weights/component_{k}"][()] for k in (1, 2, 3)], axis=1)
        labels = [text.decode() for text in file["entry/classes/formula"][()]]
        first = file["entry/candidates/class"][()][:, 0]
        assert file["entry/process/provenance/model_hash"].asstr()[()]
        assert file["entry/process/provenance/catalogue_revision"].asstr()[()] == "1"
        assert "synthetic" in file["entry/title"].asstr()[()]
    truth = Crystallisation(frames=FRAMES).shares()
    used = np.delete(np.arange(FRAMES), 7)
    pure = truth[used].max(axis=1) > 0.97
    assert (weights[pure].argmax(axis=1) == truth[used][pure].argmax(axis=1)).all()
    named = np.array(labels, dtype=object)[first]
    for phase, formula in enumerate(PHASES, start=1):
        assert (named[(truth[:, phase] > 0.97) & (first >= 0)] == formula).mean() > 0.9


@pytest.fixture
def no_figures(monkeypatch):
    """Reports without their page, which other tests look at and which takes most of the time here."""
    monkeypatch.setattr("hpc_mlsm.report.archive_page.write_morning_report", lambda answer, path: path)


@pytest.mark.usefixtures("no_figures")
def test_a_second_run_finds_everything_there(answered, model, stack):
    path, _ = answered
    tasks = []
    config = _config(stack, model)
    before = (path / "archive" / "frames.csv").read_bytes()
    predicted, taken_apart, refined, _ = _run(
        config, path, EventBus(lambda event: tasks.append(event) if isinstance(event, TaskFinished) else None)
    )
    assert not tasks
    assert predicted.already_there == FRAMES
    assert taken_apart.reused
    assert refined.fits == 0
    assert (path / "archive" / "frames.csv").read_bytes() == before


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_worker_processes_give_the_same_as_one(answered, model, stack, tmp_path):
    path, _ = answered
    _run(_config(stack, model, kind="local", workers=2), tmp_path / "run")
    for name in ("frames.csv", "components.csv"):
        assert (tmp_path / "run" / "archive" / name).read_bytes() == (path / "archive" / name).read_bytes()


def test_steps_out_of_order_say_what_is_missing(model, stack, tmp_path):
    with pytest.raises(HpcMlsmError, match="predict"):
        _run(_config(stack, model), tmp_path / "run", steps=["decompose"])


def test_an_archive_that_was_answered_can_be_refined_alone(answered, capsys):
    path, _ = answered
    refine_patterns([str(path)], [], None, ["refine.budget.fits=40"], True)
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(r"refine: \d+ frames.* with \d+ fits \(3 of components", said)


def test_patterns_that_a_run_answered_are_refined_with_its_candidates(model, stack, tmp_path, capsys):
    shutil.copytree(model, tmp_path / "run", symlinks=True)
    with h5py.File(stack) as file:
        r, frames = file["entry/data/r"][()], file["entry/data/G"][()]
    patterns = tmp_path / "patterns"
    patterns.mkdir()
    for name, values in (("early", frames[FRAMES // 2]), ("late", frames[-1])):
        text = "".join(f"{x:.4f} {y:.8f}\n" for x, y in zip(r, values, strict=True))
        (patterns / f"{name}.gr").write_text(text)
    predict_patterns(tmp_path / "run", [patterns], None, [], {}, 3, None, {})
    fast = ["refine.fit.r_max=12", "refine.fit.search=false", "executor.kind=inline"]
    refine_patterns([str(tmp_path / "run")], [], None, fast, False)
    assert "2 of 2 frames fitted" in " ".join(capsys.readouterr().out.split())
    rows = list(csv.DictReader((tmp_path / "run" / "refinement" / "refinement.csv").read_text().splitlines()))
    assert [Path(row["name"]).stem for row in rows] == ["early", "late"]
    assert "Si" in rows[1]["phases"]
    assert float(rows[1]["r_w"]) < 0.4


@pytest.mark.usefixtures("no_figures")
def test_a_phase_that_is_known_is_held_fixed(answered, model, stack, tmp_path):
    path, _ = answered
    shutil.copytree(path, tmp_path / "run", symlinks=True)
    with h5py.File(stack) as file:
        r, frames = file["entry/data/r"][()], file["entry/data/G"][()]
    known = tmp_path / "pure.gr"
    known.write_text("".join(f"{x:.4f} {y:.8f}\n" for x, y in zip(r, frames[-1], strict=True)))
    config = _config(stack, model)
    config = replace(config, decompose=replace(config.decompose, known=(known,)))
    (found,) = _run(config, tmp_path / "run", steps=["decompose"])
    assert not found.reused
    kept = load_decomposition(RunDirectory(tmp_path / "run").decomposition)
    assert kept.components.fixed == 1
    assert np.abs(np.corrcoef(kept.components.curves)[0, 1:]).max() < 0.95
    assert kept.weights[-1, 0] == pytest.approx(1.0, abs=0.1)
    known.write_text("nothing\n")
    with pytest.raises(HpcMlsmError, match=r"pure\.gr"):
        _run(config, tmp_path / "run", steps=["decompose"])


def test_a_full_disk_while_it_is_taken_apart_is_told_and_nothing_half_is_left(
    answered, model, stack, tmp_path, small_disk
):
    path, _ = answered
    shutil.copytree(path, tmp_path / "run", symlinks=True)
    run = RunDirectory(tmp_path / "run")
    shutil.move(run.archive, small_disk / "archive")
    run.archive.symlink_to(small_disk / "archive")
    whole = load_decomposition(run.decomposition)
    run.decomposition.unlink()
    filler = small_disk / "filler"
    filler.write_bytes(b"0" * (shutil.disk_usage(small_disk).free - 8192))
    with pytest.raises(HpcMlsmError, match="cannot be written"):
        _run(_config(stack, model), run.path, steps=["decompose"])
    assert not run.decomposition.exists()
    filler.unlink()
    (found,) = _run(_config(stack, model), run.path, steps=["decompose"])
    assert not found.reused
    np.testing.assert_array_equal(load_decomposition(run.decomposition).weights, whole.weights)
    assert not [one for one in run.archive.rglob("*") if one.name.endswith(".part")]


@pytest.mark.usefixtures("no_figures")
def test_a_damaged_shard_of_frames_is_made_again(answered, model, stack):
    path, _ = answered
    shard = next((path / "archive" / "frames").glob("frames-*.h5"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    before = (path / "archive" / "frames.csv").read_bytes()
    _run(_config(stack, model), path)
    assert shard.read_bytes() == whole
    assert (path / "archive" / "frames.csv").read_bytes() == before


def test_an_archive_is_submitted_as_a_chain_of_its_steps(model, stack, tmp_path):
    run, config = RunDirectory(tmp_path / "run"), _config(stack, model)
    jobs = job_scripts(run, config, SiteProfile())
    assert [job.stage for job in jobs] == list(archive.STEPS)
    for job in jobs:
        words = list(job.command)
        start = words.index("archive")
        assert words[start : start + 4] == ["archive", str(run.path), "--only", job.stage]


def test_status_of_an_archive_run_tells_of_its_steps(answered, model, stack):
    path, _ = answered
    found = run_status(RunDirectory(path), _config(stack, model))
    assert [(one.stage, one.state) for one in found] == [(step, "done") for step in archive.STEPS]


def test_the_plan_of_an_archive_rests_on_frames_that_were_timed(model, stack, tmp_path):
    planned = plan_archive(_config(stack, model), tmp_path, model)
    assert planned.frames == FRAMES
    assert 0 < planned.timed <= FRAMES
    assert planned.usable > 0.9
    assert planned.seconds > 0
    assert not planned.refusals
    assert planned.budget is not None
    assert planned.budget.least <= 40
    whole, *less = planned.offers
    assert whole.stride == 1
    assert [one.fitted for one in less] == sorted((one.fitted for one in less), reverse=True)
    table = archive_plan_table(planned)
    said = [str(cell) for column in table.columns for cell in column.cells]
    assert any(f"buy every frame: {whole.least} fits" in text for text in said)


@pytest.mark.slow
@pytest.mark.parametrize("step", archive.STEPS)
def test_a_run_killed_in_a_step_goes_on_with_nothing_lost_or_doubled(answered, model, stack, tmp_path, step):
    path, _ = answered
    run = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "hpc_mlsm.cli.main",
        "archive",
        str(stack),
        "--model",
        str(model),
        "--out",
        str(run),
    ]
    for key, value in {
        "name": "night",
        "decompose.starts": 2,
        "decompose.components": 3,
        "decompose.fit_frames": 60,
        "decompose.matrix_frames": 60,
        "refine.fit.r_max": 15.0,
        "refine.fit.search": False,
        "refine.budget.candidates": 1,
        "refine.budget.fits": 40,
        "executor.kind": "inline",
    }.items():
        command += ["--set", f"{key}={json.dumps(value)}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        _wait_for(step, run / "logs" / "events.jsonl", process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    for name in ("frames.csv", "components.csv"):
        assert (run / "archive" / name).read_bytes() == (path / "archive" / name).read_bytes()
    assert not list(run.rglob("*.part"))


def _wait_for(step, events, process):
    """Until the step has begun; the report has no events, so it is waited for by what comes before it."""
    sign = {"report": ('"StageFinished"', "refine", 2)}.get(step, ('"StageStarted"', step, 1))
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        lines = events.read_text().splitlines() if events.exists() else []
        if sum(sign[0].strip('"') in line and f'"{sign[1]}"' in line for line in lines) >= sign[2]:
            return
        time.sleep(0.02)
