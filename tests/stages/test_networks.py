"""Networks as part of a run: trained from its configuration, by one process, under mpirun and by a site's jobs."""

import importlib.util
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from network_runs import command, ended, history, network_config, simulated
from small_run import opened

from hpc_mlsm.models.cnn_bundle import load_cnn
from hpc_mlsm.runtime.events import Event, TaskFinished
from hpc_mlsm.stages import train
from hpc_mlsm.stages.network_data import networks_of
from hpc_mlsm.stages.networks import NetworkSummary
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.status import run_status
from hpc_mlsm.stages.train_powder import PowderTrained
from hpc_mlsm.store.patterns import PatternStore

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("tensorflow") is None, reason="tensorflow is not installed (extra cnn)"
    ),
]


@pytest.fixture(scope="module")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run before its training."""
    return simulated(tmp_path_factory.mktemp("networks") / "run")


@pytest.fixture
def run(patterns: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(patterns, tmp_path / "run"))


@pytest.fixture(scope="module")
def alone(patterns: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that this process has trained."""
    folder = Path(shutil.copytree(patterns, tmp_path_factory.mktemp("alone") / "run"))
    trained(folder)
    return folder


def trained(folder: Path, *overrides: str, heard: list[Event] | None = None) -> NetworkSummary:
    with opened(folder, network_config(*overrides), heard) as context:
        found = train.run(context)
    assert isinstance(found, PowderTrained)
    (summary,) = found.models
    assert isinstance(summary, NetworkSummary)
    return summary


def test_the_train_stage_leaves_a_bundle_a_history_and_logs_and_does_nothing_twice(run: Path) -> None:
    heard: list[Event] = []
    summary = trained(run, heard=heard)
    assert (summary.name, summary.classes, summary.epochs, summary.reused) == ("cnn", 7, 3, False)
    assert sum(isinstance(event, TaskFinished) for event in heard) == 3
    assert [record["epoch"] for record in history(run)] == [1, 2, 3]
    assert list((run / "models" / "cnn-training" / "tensorboard").glob("events.*"))
    assert not list((run / "models" / "cnn-training").glob("*.npz"))
    bundle = load_cnn(run / "models" / "cnn")
    with PatternStore.open(run / "patterns" / "powder", "r") as store:
        rows = next(store.iter_batches(40)).patterns
    assert bundle.probabilities(rows).shape == (len(rows), 7)
    assert bundle.info.wavelength == pytest.approx(1.54056)
    assert trained(run) == NetworkSummary(**{**vars(summary), "reused": True})
    assert training_state(run)[0] == "done"
    assert training_state(run, "train.cnn.seed=1") == ("outdated", "cnn: of other data or settings")


def training_state(run: Path, *overrides: str) -> tuple[str, str]:
    (found,) = (
        one for one in run_status(RunDirectory(run, "powder"), network_config(*overrides)) if one.stage == "train"
    )
    return found.state, found.detail


def test_space_group_and_cell_are_learnt_where_the_configuration_says_so(run: Path) -> None:
    trained(run, "train.cnn.heads=[space_group, cell]", "train.cnn.epochs=1")
    outputs = load_cnn(run / "models" / "cnn").model.outputs(np.ones((2, 351)))
    assert {name: values.shape[1] for name, values in outputs.items()} == {"class": 7, "space_group": 230, "cell": 6}


def test_no_composition_of_one_space_group_is_on_both_sides_and_each_system_ends_the_training(patterns: Path) -> None:
    ((data, _),) = networks_of(RunDirectory(patterns, "powder"), network_config())
    assert (data.train ^ data.validation).all()
    assert 0.05 < data.validation.mean() < 0.2
    assert set(data.targets["class"][data.validation]) == set(data.targets["class"])


@pytest.mark.mpi
@pytest.mark.skipif(shutil.which("mpirun") is None, reason="mpirun is not installed")
@pytest.mark.skipif(importlib.util.find_spec("mpi4py") is None, reason="mpi4py is not installed")
def test_two_ranks_under_mpirun_train_the_network_of_one_process(run: Path, alone: Path) -> None:
    root = ["--allow-run-as-root"] if os.getuid() == 0 else []
    done = ended(["mpirun", "-n", "2", "--oversubscribe", *root, *command(run)])
    assert done.returncode == 0, done.stderr
    assert load_cnn(run / "models" / "cnn").info.metrics["ranks"] == 2
    assert_alike(run, alone)


LONGER = ("train.cnn.epochs=10", "train.cnn.patience=10", "train.cnn.stall_s=60")


def until_epoch(run: Path, epoch: int, words: list[str]) -> "subprocess.Popen[str]":
    """Start a training, and wait until it has finished an epoch."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    started = subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 200
    while len(history(run)) < epoch:
        assert started.poll() is None, started.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return started


def test_the_command_goes_on_after_kill_9_to_exactly_the_same_weights(
    run: Path, patterns: Path, tmp_path: Path
) -> None:
    undisturbed = Path(shutil.copytree(patterns, tmp_path / "undisturbed"))
    assert ended(command(undisturbed, *LONGER)).returncode == 0
    for epoch in (2, 5):
        killed = until_epoch(run, epoch, command(run, *LONGER))
        os.killpg(killed.pid, signal.SIGKILL)
        killed.communicate()
        assert epoch <= len(history(run)) < 10
    done = ended(command(run, *LONGER))
    assert done.returncode == 0, done.stderr
    one, other = (load_cnn(folder / "models" / "cnn") for folder in (undisturbed, run))
    assert other.info.metrics["resumed_from"] >= 5
    assert [record["validation_loss"] for record in history(run)] == [
        record["validation_loss"] for record in history(undisturbed)
    ]
    rows = np.random.default_rng(0).random((20, one.model.n_points))
    np.testing.assert_array_equal(one.model.margins(rows), other.model.margins(rows))


def is_alive(process: psutil.Process) -> bool:
    """Whether it still does something: one that was killed may stay as a zombie where nothing reaps it."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.mpi
@pytest.mark.skipif(shutil.which("mpirun") is None, reason="mpirun is not installed")
@pytest.mark.skipif(importlib.util.find_spec("mpi4py") is None, reason="mpi4py is not installed")
def test_a_rank_that_is_killed_under_mpirun_ends_the_others_and_the_command_goes_on(run: Path) -> None:
    root = ["--allow-run-as-root"] if os.getuid() == 0 else []
    words = ["mpirun", "-n", "2", "--oversubscribe", *root, *command(run, *LONGER)]
    started = until_epoch(run, 2, words)
    ranks = psutil.Process(started.pid).children(recursive=True)
    next(one for one in ranks if one.environ().get("OMPI_COMM_WORLD_RANK") == "1").kill()
    said, _ = started.communicate(timeout=100)
    assert started.returncode != 0, said
    assert not any(map(is_alive, ranks))
    assert 2 <= len(history(run)) < 10
    done = ended(words)
    assert done.returncode == 0, done.stderr
    assert [record["epoch"] for record in history(run)] == list(range(1, 11))
    assert load_cnn(run / "models" / "cnn").info.metrics["resumed_from"] >= 2


def assert_alike(run: Path, alone: Path) -> None:
    """Sums over ranks are rounded in another order, and Adam makes more of that in weights whose gradient is small."""
    found, expected = ([record["validation_loss"] for record in history(one)] for one in (run, alone))
    assert found == pytest.approx(expected, rel=0.05)
