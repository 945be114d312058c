"""Each check of doctor says ok where all is well, and fails, with figure and remedy, where it is broken for real."""

import json
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hpc_mlsm.runtime.probes import packages
from hpc_mlsm.runtime.probes.disk import check_folder, check_scratch, file_system
from hpc_mlsm.runtime.probes.finding import Finding, failed, from_plain
from hpc_mlsm.runtime.probes.gpu import check_gpus
from hpc_mlsm.runtime.probes.network import Exchange, Listener, check_clock, check_interface, check_reach
from hpc_mlsm.runtime.probes.ranks import LOG, STATUS, check_launch
from hpc_mlsm.runtime.probes.shared import (
    RENAMED,
    START,
    SharedFolder,
    check_contest,
    check_lock,
    check_rename,
    check_seen,
    contest,
    open_contest,
)

NEEDS = packages.Needs(">=3.11,<3.14", ("numpy>=2.0", "dask>=2025.1"), {"mpi": ("mpi4py>=4.0",)})
HAVE = {"python": "3.12.1", "numpy": "2.1.0", "dask": "2025.2.0"}


def test_packages_that_are_there_and_new_enough_are_ok() -> None:
    found = packages.check_packages("n1", HAVE, [], NEEDS)
    assert (found.verdict, found.remedy) == ("ok", "")
    assert "Python 3.12.1" in found.figure


@pytest.mark.parametrize(
    ("change", "extras", "words", "remedy"),
    [
        ({"numpy": "1.26.4"}, [], "numpy 1.26.4 (needed >=2.0)", 'pip install "hpc_mlsm"'),
        ({}, ["mpi"], "mpi4py is missing (needed >=4.0)", 'pip install "hpc_mlsm[mpi]"'),
        ({"python": "3.9.2"}, [], "Python 3.9.2, needed is >=3.11,<3.14", "another Python"),
    ],
)
def test_a_package_that_is_missing_or_old_is_named_with_the_extra(
    change: dict[str, str], extras: list[str], words: str, remedy: str
) -> None:
    found = packages.check_packages("n1", HAVE | change, extras, NEEDS)
    assert found.verdict == "failure"
    assert words in found.figure
    assert remedy in found.remedy


def test_versions_that_differ_between_nodes_are_named() -> None:
    assert packages.compare_packages("n1", HAVE, HAVE).verdict == "ok"
    found = packages.compare_packages("n1", HAVE, HAVE | {"dask": "2024.1.0"})
    assert (found.verdict, found.figure) == ("failure", "dask 2024.1.0, here 2025.2.0")
    small = packages.compare_packages("n1", HAVE | {"rich": "14"}, HAVE)
    assert (small.verdict, small.figure) == ("warning", "rich missing, here 14")


def test_the_projects_own_requirements_are_read() -> None:
    found = packages.needs()
    assert any(text.startswith("xgboost") for text in found.packages)
    assert any(text.startswith("tensorflow") for text in found.extras["cnn"])
    assert packages.this_environment()["python"].startswith("3.")


def test_an_interface_that_is_not_there_is_answered_with_those_that_are() -> None:
    assert check_interface("n1", "lo").figure == "lo, 127.0.0.1"
    found = check_interface("n1", "ib7")
    assert found.verdict == "failure"
    assert "no interface ib7; there are lo (127.0.0.1)" in found.figure
    assert "set interface:" in found.remedy


def test_a_listener_is_reached_by_tls_and_clocks_are_compared(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    with Listener(tmp_path, "lo") as listener:
        found, exchange = check_reach("n1", "the login node", listener.address, listener.port, tmp_path)
    assert found.verdict == "ok", found
    assert exchange is not None
    assert abs(exchange.skew_s) < 1
    gone, nothing = check_reach("n1", "the login node", listener.address, listener.port, tmp_path)
    assert (gone.verdict, nothing) == ("failure", None)
    assert "nodes_reach_login: false" in gone.remedy


def test_a_listener_is_not_reached_with_another_certificate(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    with Listener(tmp_path / "a", "lo") as listener, Listener(tmp_path / "b", "lo"):
        found, exchange = check_reach("n1", "n2", listener.address, listener.port, tmp_path / "b")
    assert (found.verdict, exchange) == ("failure", None)
    assert "certificate" in found.figure.lower()


def test_a_port_at_which_something_else_listens_is_a_failure(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    with Listener(tmp_path, "lo"), socket.create_server(("127.0.0.1", 0)) as server:

        def close_at_once() -> None:
            connection, _ = server.accept()
            connection.close()

        thread = threading.Thread(target=close_at_once)
        thread.start()
        found, _ = check_reach("n1", "n2", "127.0.0.1", server.getsockname()[1], tmp_path)
        thread.join()
    assert found.verdict == "failure"


@pytest.mark.parametrize(
    ("ahead", "verdict", "words"),
    [(0.2, "ok", "0.2 s ahead of"), (-5.0, "warning", "5 s behind"), (300.0, "failure", "300 s ahead of")],
)
def test_clock_skew_is_computed_from_four_times(ahead: float, verdict: str, words: str) -> None:
    # The way takes 10 ms each way, and the answer 5 ms.
    exchange = Exchange(asked=100 + ahead, received=100.01, answered=100.015, heard=100.025 + ahead)
    assert exchange.skew_s == pytest.approx(ahead)
    assert exchange.delay_s == pytest.approx(0.02)
    found = check_clock("n1", exchange.skew_s, exchange.delay_s / 2)
    assert (found.verdict, words in found.figure) == (verdict, True), found


def test_a_folder_that_is_shared_is_found_to_be(tmp_path: Path) -> None:
    with SharedFolder(tmp_path) as shared:
        found = check_seen("n1", tmp_path, shared.token)
        contest(tmp_path, "n1", open_contest(tmp_path))
        time.sleep(0.2)
    assert [one.verdict for one in found] == ["ok"] * 3, found
    assert check_contest("n1", tmp_path).verdict == "ok"
    assert (tmp_path / START).exists()


def test_another_folder_of_the_same_name_is_told_apart(tmp_path: Path) -> None:
    with SharedFolder(tmp_path):
        found = check_seen("n1", tmp_path, "another token")
    assert [one.verdict for one in found] == ["failure"]
    assert "--run" in found[0].remedy
    (tmp_path / "empty").mkdir()
    assert "No such file" in check_seen("n1", tmp_path / "empty", "token")[0].figure


def test_files_that_are_seen_half_written_are_a_failure(tmp_path: Path) -> None:
    (tmp_path / RENAMED).write_text("1\n" * 10)
    found = check_rename("n1", tmp_path)
    assert found.verdict == "failure"
    assert "0 of 40 readings whole" in found.figure
    assert "40 torn or missing" in found.figure


def test_a_lock_with_two_winners_is_a_failure(tmp_path: Path) -> None:
    contest(tmp_path, "n1", time.time())
    assert check_contest("n1", tmp_path).figure.endswith("(n1 20)")
    (tmp_path / "won-3-n2").touch()
    found = check_contest("n1", tmp_path)
    assert (found.verdict, found.figure) == ("failure", "1 of 20 locks had several winners")


def test_a_full_disk_is_told(small_disk: Path) -> None:
    found = {one.check: one for one in check_folder("run folder", "n1", small_disk)}
    assert found["run folder: space"].verdict == "failure"
    assert found["run folder: speed"].verdict == "failure"
    assert "No space left" in found["run folder: speed"].figure
    (small_disk / "all").write_bytes(b"0" * 2**20)
    assert check_lock("n1", small_disk).check == "shared folder: hard links"


def test_scratch_in_memory_is_a_warning(small_disk: Path, tmp_path: Path) -> None:
    found = {one.check: one for one in check_scratch("n1", str(small_disk), tmp_path)}
    assert found["scratch: local"].verdict == "warning"
    assert "in memory" in found["scratch: local"].figure
    assert file_system(small_disk).kind == "tmpfs"


def test_scratch_that_cannot_be_made_is_a_failure_and_what_was_made_goes(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (found,) = check_scratch("n1", str(tmp_path / "file" / "scratch"), tmp_path)
    assert found.verdict == "failure"
    assert "cannot be made" in found.figure
    good = check_scratch("n1", str(tmp_path / "scratch"), tmp_path)
    assert not failed(one for one in good if one.check != "scratch: space")
    assert not (tmp_path / "scratch").exists()


def test_gpus_are_looked_for_only_where_they_are_asked_for() -> None:
    assert [one.verdict for one in check_gpus("n1", 0)] == ["not asked for"]


def test_a_gpu_that_is_asked_for_and_missing_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = {one.check: one for one in check_gpus("n1", 1)}
    assert (found["GPU"].verdict, found["GPU"].figure) == ("failure", "1 asked for, 0 seen")
    assert found["GPU: XGBoost"].verdict == "failure"
    assert "sees no GPU" in found["GPU: XGBoost"].figure
    assert "train.boosted.device to cpu" in found["GPU: XGBoost"].remedy
    assert found["GPU: TensorFlow"].verdict in ("warning", "failure")
    assert "hpc_mlsm[cnn]" in found["GPU: TensorFlow"].remedy or "and-cuda" in found["GPU: TensorFlow"].remedy


def launched(folder: Path, *ranks: dict[str, object], status: str = "0", log: str = "") -> Finding:
    """What is made of what two ranks told."""
    for number, told in enumerate(ranks):
        (folder / f"rank-{number}.json").write_text(json.dumps(told))
    (folder / STATUS).write_text(status)
    (folder / LOG).write_text(log)
    return check_launch("n1", folder, "mpi", "mpirun", needed=True)


def test_ranks_that_see_each_other_are_ok(tmp_path: Path) -> None:
    told = {"size": 2, "node": "n1", "library": "Open MPI v4"}
    found = launched(tmp_path, told | {"rank": 0}, told | {"rank": 1, "node": "n2"})
    assert (found.verdict, found.figure) == ("ok", "2 ranks see each other on n1, n2, Open MPI v4")


def test_ranks_that_are_alone_name_the_wrong_mpi(tmp_path: Path) -> None:
    told = {"rank": 0, "size": 1, "node": "n1", "library": "MPICH 4.1"}
    found = launched(tmp_path, told, told)
    assert found.verdict == "failure"
    assert "mpi4py uses MPICH 4.1" in found.figure
    assert "rebuild mpi4py" in found.remedy


def test_a_launcher_that_starts_nothing_is_quoted(tmp_path: Path) -> None:
    found = launched(tmp_path, status="213", log="-----\nmpirun: no slots\n-----\n")
    assert found.figure == "0 of 2 ranks started (exit status 213): mpirun: no slots"
    assert check_launch("n1", tmp_path, "mpi", "mpirun", needed=False).verdict == "warning"


def test_findings_survive_json_and_only_failures_fail() -> None:
    found = Finding("clock", "n1", "warning", "5 s", "NTP")
    assert from_plain(json.loads(json.dumps([found.plain()]))) == [found]
    assert not failed([found])
    assert failed([found, replace(found, verdict="failure")])
