"""How ranks that train together find each other."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime import training_ranks
from hpc_mlsm.runtime.rank_files import exchange_by_files
from hpc_mlsm.runtime.training_ranks import free_address, launcher, meet, own_rank, ranks_started

VARIABLES = (
    "TF_CONFIG",
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_RANK",
    "PMI_SIZE",
    "PMI_RANK",
    "MPI_LOCALNRANKS",
    "SLURM_STEP_NUM_TASKS",
    "SLURM_PROCID",
    "SLURM_JOB_ID",
    "SLURM_STEP_ID",
)
TF_CONFIG = json.dumps({"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}})


@pytest.fixture(autouse=True)
def _no_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(training_ranks, "_joined", None)


@pytest.mark.parametrize(
    ("environment", "kind", "rank"),
    [
        ({}, "alone", 0),
        ({"SLURM_JOB_ID": "7"}, "alone", 0),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, "alone", 0),
        ({"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3"}, "slurm", 3),
        ({"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3", "PMI_SIZE": "4", "PMI_RANK": "3"}, "slurm", 3),
        ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "2"}, "mpi", 2),
        ({"PMI_SIZE": "4", "PMI_RANK": "2"}, "mpi", 2),
        # mpirun in a job of two nodes, whose daemons are a step of two tasks.
        (
            {
                "SLURM_STEP_NUM_TASKS": "2",
                "SLURM_PROCID": "1",
                "OMPI_COMM_WORLD_SIZE": "8",
                "OMPI_COMM_WORLD_RANK": "5",
            },
            "mpi",
            5,
        ),
        ({"TF_CONFIG": TF_CONFIG, "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3"}, "tf_config", 1),
    ],
)
def test_the_environment_tells_who_started_the_ranks(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], kind: str, rank: int
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launcher() == kind
    assert own_rank() == rank
    assert ranks_started() == {"alone": 1, "tf_config": 2}.get(kind, 8 if rank == 5 else 4)


def test_a_single_process_meets_nobody(tmp_path: Path) -> None:
    found = meet({"data": "x"}, tmp_path)
    assert (found.rank, found.addresses, found.cards) == (0, (), ({"data": "x"},))
    assert not list(tmp_path.iterdir())


def exchanged(folder: Path, ranks: int, delays: tuple[float, ...] = (), timeout_s: float = 30.0) -> list[Any]:
    """What each rank gets, or the error."""
    found: list[Any] = [None] * ranks

    def one(rank: int) -> None:
        try:
            time.sleep(delays[rank] if delays else 0.0)
            found[rank] = exchange_by_files({"of": rank}, folder, rank, ranks, timeout_s)
        except ExecutorError as error:
            found[rank] = error

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize("ranks", [2, 5])
def test_every_rank_learns_what_all_others_say(tmp_path: Path, ranks: int) -> None:
    assert exchanged(tmp_path / "new", ranks) == [[{"of": k} for k in range(ranks)]] * ranks


def test_what_a_launch_that_was_killed_has_left_is_not_believed(tmp_path: Path) -> None:
    old = {k: {"number": f"old-{k}", "own": {"of": "old"}, "seen": {str(1 - k): f"old-{1 - k}"}} for k in range(2)}
    for k, content in old.items():
        (tmp_path / f".rank-{k}.json").write_text(json.dumps(content))
    assert exchanged(tmp_path, 2, delays=(0.0, 1.0)) == [[{"of": 0}, {"of": 1}]] * 2


def test_half_a_file_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / ".rank-1.json").write_text('{"number": "12')
    assert exchanged(tmp_path, 2, delays=(0.0, 0.5)) == [[{"of": 0}, {"of": 1}]] * 2


def test_ranks_that_do_not_come_are_named(tmp_path: Path) -> None:
    with pytest.raises(ExecutorError, match=r"rank 0 of 3 waited 0\.5 s for ranks 1, 2 in .*share"):
        exchange_by_files({}, tmp_path, 0, 3, 0.5)


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        "{}",
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
    ],
)
def test_a_tf_config_that_makes_no_sense_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ExecutorError, match="TF_CONFIG cannot be understood"):
        meet({}, tmp_path)


def test_slurm_without_a_job_step_says_how_to_start(tmp_path: Path) -> None:
    with pytest.raises(ExecutorError, match=r"SLURM_PROCID is not set\): start it by srun"):
        meet({}, tmp_path, kind="slurm")


def test_ranks_of_one_node_listen_on_loopback_and_a_port_that_is_free() -> None:
    host, port = free_address(None, one_node=True).split(":")
    assert host == "127.0.0.1"
    with socket.socket() as probe:
        probe.bind((host, int(port)))
    assert free_address("lo", one_node=False).startswith("127.0.0.1:")
    with pytest.raises(ExecutorError, match=r"'nonsense0'.*name another as executor\.interface"):
        free_address("nonsense0", one_node=False)


MEETING = """
import json, sys
from pathlib import Path
from hpc_mlsm.runtime.training_ranks import meet
for model in ("first", "second", "third"):
    found = meet({"of": f"{model} {sys.argv[2]}"}, Path(sys.argv[1]))
    print(json.dumps([found.rank, found.addresses, [card["of"] for card in found.cards]]))
"""


def test_ranks_that_train_several_models_meet_for_each_and_keep_their_addresses(tmp_path: Path) -> None:
    started = []
    for rank in range(2):
        config = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": rank}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(config), "PYTHONPATH": str(Path(__file__).parents[2])}
        words = [sys.executable, "-c", MEETING, str(tmp_path), f"of rank {rank}"]
        started.append(subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True))
    for rank, process in enumerate(started):
        told, _ = process.communicate(timeout=60)
        assert [json.loads(line) for line in told.splitlines()] == [
            [rank, ["a:1", "b:2"], [f"{model} of rank 0", f"{model} of rank 1"]]
            for model in ("first", "second", "third")
        ]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and not path.name.startswith(".")]
