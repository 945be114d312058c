"""The refine stage: within its budget, the same on every executor, and going on after kills and damage."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from deadly_fit import DEADLY, refine_or_die
from refinement_samples import FIT, STARTER, curve, series_of

from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.errors import PlanError, RunError, StoreError
from hpc_mlsm.refinement.budget import BudgetSettings
from hpc_mlsm.refinement.gathered import NOT_DONE
from hpc_mlsm.refinement.series import Series, write_series
from hpc_mlsm.refinement.settings import SeriesSettings
from hpc_mlsm.runtime.events import Event, Note, SetAside, StageStarted, WorkerLost
from hpc_mlsm.runtime.settings import ExecutorSettings
from hpc_mlsm.runtime.signals import RESUME_STATUS
from hpc_mlsm.stages import refine
from hpc_mlsm.stages.context import open_run
from hpc_mlsm.stages.refine import RefineSummary
from hpc_mlsm.stages.run_directory import RunDirectory

INLINE = ExecutorSettings(kind="inline")


def frames(n: int = 24) -> Series:
    """Nickel that expands, and from the middle on iron."""
    half = n // 2
    curves = [curve(STARTER["Ni-fcc"], 1 + 0.0003 * k) for k in range(half)]
    curves += [curve(STARTER["Fe-bcc"], 1 + 0.0003 * k) for k in range(n - half)]
    return series_of(curves, [["Ni-fcc", "Fe-bcc", "W-bcc"]] * n)


def done(
    folder: Path, series: Series | None = None, executor: ExecutorSettings = INLINE, **budget: object
) -> tuple[RefineSummary, list[Event]]:
    run = RunDirectory(folder)
    settings = SeriesSettings(FIT, BudgetSettings(**({"chain": 6, "worsen": 1.5} | budget)))  # type: ignore[arg-type]
    heard: list[Event] = []
    with open_run(run, RunConfig(refine=settings, executor=executor), heard.append) as context:
        if series is not None:
            write_series(run.refinement / refine.SERIES, series)
        return refine.run(context), heard


def table(folder: Path) -> dict[str, np.ndarray]:
    found = pq.read_table(RunDirectory(folder).refinement / "refinement.parquet")
    return {name: np.array(found[name].to_pylist()) for name in found.column_names}


def test_each_frame_gets_its_structure_and_cell_with_few_fits(tmp_path: Path) -> None:
    summary, _ = done(tmp_path, frames())
    found = table(tmp_path)
    assert list(found["phases"]) == ["starter/Ni-fcc"] * 12 + ["starter/Fe-bcc"] * 12
    cells = np.array([STARTER["Ni-fcc"].cell.a] * 12 + [STARTER["Fe-bcc"].cell.a] * 12)
    expected = cells * (1 + 0.0003 * np.tile(np.arange(12), 2))
    assert np.all(np.abs(found["a"] - expected) < 5 * found["a_su"])
    # Four typical frames with three candidates each, and one fit of every other frame, as chains end at the change.
    assert summary.fits == 4 * 3 + 20 < 24 * 3
    assert (summary.fitted, summary.refitted, summary.refused) == (24, 0, 0)


def test_a_change_within_a_chain_is_noticed(tmp_path: Path) -> None:
    summary, _ = done(tmp_path, frames(), chain=24)
    assert list(table(tmp_path)["phases"]) == ["starter/Ni-fcc"] * 12 + ["starter/Fe-bcc"] * 12
    assert summary.refitted >= 1
    assert summary.fits < 24 * 2


@pytest.mark.slow
def test_two_workers_find_what_one_process_finds(tmp_path: Path) -> None:
    series = frames()
    done(tmp_path / "one", series)
    done(tmp_path / "two", series, ExecutorSettings(kind="local", workers=2))
    one, two = (sorted(RunDirectory(tmp_path / name).refinement.glob("shards-*/*.parquet")) for name in ("one", "two"))
    assert [path.name for path in one] == [path.name for path in two]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_nothing_is_done_twice_and_damage_is_done_again(tmp_path: Path) -> None:
    first, _ = done(tmp_path, frames())
    again, _ = done(tmp_path)
    assert (first.fits, again.fits, again.already_there) == (32, 0, 24)
    before = table(tmp_path)
    cut, altered, gone, kept = sorted(RunDirectory(tmp_path).refinement.glob("shards-*/chain-*.parquet"))
    cut.write_bytes(cut.read_bytes()[:-20])
    image = bytearray(altered.read_bytes())
    image[len(image) // 3] ^= 0xFF
    altered.write_bytes(image)
    gone.unlink()
    was = kept.stat().st_mtime_ns
    third, heard = done(tmp_path)
    assert third.already_there == 6
    assert third.fits == 24
    assert kept.stat().st_mtime_ns == was
    assert sum(isinstance(event, Note) and "done again" in event.text for event in heard) == 2
    for name, values in table(tmp_path).items():
        assert np.array_equal(values, before[name], equal_nan=values.dtype.kind == "f"), name


def test_other_settings_are_refined_anew_and_old_shards_go(tmp_path: Path) -> None:
    done(tmp_path, frames())
    summary, _ = done(tmp_path, worsen=2.0)
    assert summary.fits > 0
    assert len(list(RunDirectory(tmp_path).refinement.glob("shards-*"))) == 1


def test_a_budget_is_kept_whatever_happens(tmp_path: Path) -> None:
    summary, _ = done(tmp_path, frames(), chain=24, fits=16)
    assert summary.fits <= 16
    assert 0 < summary.fitted < 24
    kinds = set(table(tmp_path)["kind"])
    assert "skipped" in kinds
    with pytest.raises(PlanError, match="the budget of 2 fits is less than the 4"):
        done(tmp_path, fits=2)


def test_components_are_fitted_first_and_frames_start_from_them(tmp_path: Path) -> None:
    series = frames()
    components = np.array([curve(STARTER["Ni-fcc"]), curve(STARTER["Fe-bcc"])], dtype=np.float32)
    series = replace(series, components=components, component_candidates=np.array([[1, 0], [0, -1]]))
    summary, _ = done(tmp_path, series)
    assert summary.components == 2
    assert len(list(RunDirectory(tmp_path).refinement.glob("shards-*/component-*.parquet"))) == 2
    assert summary.fits == 3 + 32


def test_frames_that_cannot_be_refined_are_set_aside_with_their_reason(tmp_path: Path) -> None:
    series = frames()
    values = series.values.copy()
    values[3, 5] = np.nan
    values[8] = 0
    candidates = series.candidates.copy()
    candidates[20] = -1
    summary, _ = done(tmp_path, replace(series, values=values, candidates=candidates))
    found = table(tmp_path)
    assert [found["kind"][k] for k in (3, 8, 20)] == ["refused", "refused", "no candidate"]
    assert [found["reason"][k] for k in (3, 8)] == ["not_finite", "constant"]
    assert (summary.fitted, summary.refused) == (21, 2)


def test_a_run_without_a_series_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nothing was made ready"):
        done(tmp_path)


def test_a_full_disk_is_told_and_the_rest_goes_on_after_it(small_disk: Path) -> None:
    series = frames()
    filler = small_disk / "filler"
    run = RunDirectory(small_disk / "run")
    run.refinement.mkdir(parents=True)
    write_series(run.refinement / refine.SERIES, series)
    filler.write_bytes(b"0" * (shutil.disk_usage(small_disk).free - 24576))
    with pytest.raises((RunError, StoreError), match="cannot be written"):
        done(run.path)
    filler.unlink()
    summary, _ = done(run.path)
    assert summary.fitted == 24


@pytest.mark.slow
def test_a_frame_that_kills_its_worker_is_set_aside_with_its_chain_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = frames(96)
    series.values[10, 5] = DEADLY
    executor = ExecutorSettings(kind="local", workers=1, retries=1)
    monkeypatch.setattr(refine, "refine_task", refine_or_die)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    summary, heard = done(tmp_path, series, executor, chain=4)
    assert (summary.fitted, summary.set_aside) == (92, 4)
    kinds = table(tmp_path)["kind"]
    assert [k for k in range(96) if kinds[k] == NOT_DONE] == [8, 9, 10, 11]
    (aside,) = [event for event in heard if isinstance(event, SetAside)]
    assert "frames 8 to 11" in aside.id
    assert aside.reason == "killed_worker"
    assert any(isinstance(event, WorkerLost) for event in heard)
    monkeypatch.undo()
    again, _ = done(tmp_path, chain=4)
    assert (again.fits, again.set_aside) == (0, 4)


def test_events_count_components_and_then_frames(tmp_path: Path) -> None:
    series = frames()
    components = np.array([curve(STARTER["Ni-fcc"]), curve(STARTER["Fe-bcc"])], dtype=np.float32)
    series = replace(series, components=components, component_candidates=np.array([[1, 0], [0, -1]]))
    _, heard = done(tmp_path, series)
    started = [event for event in heard if isinstance(event, StageStarted)]
    assert [(event.units, event.n_units) for event in started] == [("components", 2), ("frames", 24)]


PROGRAM = """
import sys
from pathlib import Path
sys.path[:0] = {tests!r}
from test_refine_stage import done
from hpc_mlsm.cli.commands import exit_status
from hpc_mlsm.errors import HpcMlsmError
try:
    done(Path({folder!r}), chain=4)
except HpcMlsmError as error:
    sys.exit(exit_status(error))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1])
def test_a_stage_that_was_stopped_goes_on_where_it_was(tmp_path: Path, number: signal.Signals) -> None:
    series = frames(240)
    whole = tmp_path / "whole"
    complete, _ = done(whole, series, chain=4)
    run = RunDirectory(tmp_path / "run")
    write_series(run.refinement / refine.SERIES, series)
    text = PROGRAM.format(tests=[str(Path(__file__).parents[k]) for k in (0, 1)], folder=str(run.path))
    process = subprocess.Popen([sys.executable, "-c", text], start_new_session=True)
    end = time.monotonic() + 120
    while len(list(run.refinement.glob("shards-*/chain-*.parquet"))) < 4:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    os.killpg(process.pid, number)
    assert process.wait(60) == (-signal.SIGKILL if number == signal.SIGKILL else RESUME_STATUS)
    left = {path.name: path.stat().st_mtime_ns for path in run.refinement.glob("shards-*/chain-*.parquet")}
    summary, _ = done(run.path, chain=4)
    assert 0 < summary.fits < complete.fits
    after = {path.name: path.stat().st_mtime_ns for path in run.refinement.glob("shards-*/chain-*.parquet")}
    assert left.items() <= after.items()
    one, two = table(whole), table(run.path)
    assert all(np.array_equal(one[name], two[name], equal_nan=one[name].dtype.kind == "f") for name in one)
