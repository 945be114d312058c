"""Kill -9 in the middle of simulate and of train; then count what is done again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from small_run import FORMULAE, small_config, write_cifs

from hpc_mlsm.config.load import plain
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.runtime.events import ignore
from hpc_mlsm.runtime.lock import LOCK_NAME
from hpc_mlsm.runtime.signals import RESUME_STATUS
from hpc_mlsm.stages import group, ingest, simulate, train
from hpc_mlsm.stages.context import open_run
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.status import holder
from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.structures.starter import starter_set


def start(stage: str, config: Path, run: Path) -> subprocess.Popen[bytes]:
    """A stage in a process group of its own, workers included."""
    # A shell that runs the tests in the background would have Ctrl-C ignored.
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from hpc_mlsm.cli.main import main; main()"
    )
    command = [sys.executable, "-c", program, stage, str(config), "--run", str(run)]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_when(process: subprocess.Popen[bytes], ready: Callable[[], bool], timeout_s: float = 120) -> None:
    """SIGKILL to the whole process group as soon as there is something to lose."""
    end = time.monotonic() + timeout_s
    while not ready():
        assert process.poll() is None, "the stage ended before it could be killed"
        assert time.monotonic() < end, "the stage never got so far"
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


def begun(tmp_path: Path, formulae: tuple[str, ...], *overrides: str) -> tuple[RunDirectory, RunConfig, Path]:
    """A run whose catalogue is there, and the file that configures it."""
    config = small_config(write_cifs(tmp_path / "cifs", formulae), *overrides)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain(config)))
    run = RunDirectory(tmp_path / "run")
    with open_run(run, config, ignore) as context:
        ingest.run(context)
    return run, config, tmp_path / "config.yaml"


@pytest.mark.slow
def test_simulation_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    formulae = tuple(dict.fromkeys(one.formula for one in starter_set()))[:48]
    run, config, file = begun(tmp_path, formulae, "simulate.variants=400", "executor.kind=local", "executor.workers=2")
    kill_when(start("simulate", file, run.path), lambda: len(list(run.patterns.glob("shard-*.h5"))) >= 2)
    finished = {path.name: path.stat().st_mtime_ns for path in run.patterns.glob("shard-*.h5")}
    with open_run(run, config, ignore) as context:
        did = simulate.run(context)
    after = {path.name: path.stat().st_mtime_ns for path in run.patterns.glob("shard-*.h5")}
    assert finished.items() <= after.items(), "a finished shard was done again"
    assert did.already_there > 0
    assert did.already_there + did.simulated == len(formulae)
    with PatternStore.open(run.patterns, "r") as store:
        assert (store.n_structures, store.n_rows) == (len(formulae), 400 * len(formulae))
    assert not list(run.patterns.glob(".*.part"))


@pytest.mark.slow
def test_training_goes_on_from_its_checkpoint_after_a_kill(tmp_path: Path) -> None:
    overrides = ("train.boosted.rounds=40", "train.boosted.early_stopping_rounds=40", "simulate.variants=60")
    run, config, file = begun(tmp_path, FORMULAE, *overrides)
    with open_run(run, config, ignore) as context:
        simulate.run(context)
        group.run(context)
    kill_when(start("train", file, run.path), (run.checkpoints / "state.json").exists)
    done = len(json.loads((run.checkpoints / "state.json").read_text())["history"])
    assert not run.model.exists()
    with open_run(run, config, ignore) as context:
        summary = train.run(context)
    assert summary.resumed_from == done > 0
    assert summary.rounds == 40
    assert not run.checkpoints.exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_training_that_is_told_to_stop_keeps_its_last_round(tmp_path: Path, number: signal.Signals) -> None:
    overrides = ("train.boosted.rounds=500", "train.boosted.early_stopping_rounds=500")
    run, config, file = begun(tmp_path, FORMULAE, *overrides, "train.boosted.checkpoint_every=10")
    with open_run(run, config, ignore) as context:
        simulate.run(context)
        group.run(context)
    process = start("train", file, run.path)
    while not (run.checkpoints / "state.json").exists():
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(number)
    assert process.wait(60) == RESUME_STATUS
    state = json.loads((run.checkpoints / "state.json").read_text())
    assert 10 <= len(state["history"]) < 500
    assert holder(run) is None


def test_a_live_run_is_not_disturbed_by_a_second_one(tmp_path: Path) -> None:
    run, config, file = begun(tmp_path, ("Ni", "MgO"))
    with open_run(run, config, ignore):
        command = [sys.executable, "-m", "hpc_mlsm.cli.main", "simulate", str(file), "--run", str(run.path)]
        second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert f"process {os.getpid()}" in second.stderr


def test_status_tells_a_live_holder_from_a_dead_one(tmp_path: Path) -> None:
    run, config, _ = begun(tmp_path, ("Ni", "MgO"))
    assert holder(run) is None
    with open_run(run, config, ignore):
        assert str(holder(run)).startswith(f"in use by process {os.getpid()}")
        left = (run.path / LOCK_NAME).read_text()
    (run.path / LOCK_NAME).write_text(left.replace(f'"pid": {os.getpid()}', '"pid": 999999999'))
    assert "which is dead" in str(holder(run))
