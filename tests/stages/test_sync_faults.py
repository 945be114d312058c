"""A sync over lines that break, stall or never answer, for real; and how it treats a server that others use too."""

import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "catalog"))
from cif_texts import cif
from faulty_line import Fault, Line, faulty_line, silent_server
from rsync_daemon import daemon, entry_path, make_tree, put

from hpc_mlsm.catalog import rsync as rsync_module
from hpc_mlsm.catalog.rsync import PARTIAL, BrokenConnection, Politeness
from hpc_mlsm.runtime.events import Event, Note, ignore
from hpc_mlsm.stages import sync
from hpc_mlsm.stages.sync import SyncRequest, run

pytestmark = pytest.mark.skipif(shutil.which("rsync") is None, reason="the program rsync is not installed")

LARGE = "2010600"
SIZE = 3_000_000
FETCH = 1
"""Number of the connection that fetches a range; the one before lists it."""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = make_tree(tmp_path / "cod")
    noise = random.Random(0).randbytes(SIZE // 2).hex()
    put(made, LARGE, cif("Pd", 3.89) + "\n".join(f"#{noise[k : k + 70]}" for k in range(0, len(noise), 70)))
    return made


@pytest.fixture
def port(tree: Path, tmp_path: Path) -> Iterator[int]:
    with daemon(tree, tmp_path / "daemon") as address:
        yield int(address.rpartition(":")[2].partition("/")[0])


def over(line: Line, tmp_path: Path, tries: int, silence_s: int = 10) -> SyncRequest:
    manners = Politeness(bandwidth_kib_s=0, pause_s=0.0, silence_s=silence_s, tries=tries)
    return SyncRequest(f"rsync://127.0.0.1:{line.port}/cif", tmp_path / "mirror", ("2/01",), manners)


def test_a_line_that_is_cut_in_mid_file_leaves_no_half_file_and_the_rest_alone_is_fetched(
    port: int, tree: Path, tmp_path: Path
) -> None:
    target = tmp_path / "mirror" / "cif" / entry_path(LARGE)
    with faulty_line(port, {FETCH: Fault(2_000_000, "cut")}) as line:
        with pytest.raises(BrokenConnection, match="connection broke"):
            run(over(line, tmp_path, tries=1), ignore)
        assert not target.exists()
        kept = (target.parent / PARTIAL / target.name).stat().st_size
        assert kept > 100_000
        found = run(over(line, tmp_path, tries=1), ignore)
        assert line.carried[-1] < SIZE - kept + 100_000
    assert (found.number, found.added) == (1, 3)
    assert target.read_bytes() == (tree / entry_path(LARGE)).read_bytes()
    assert not list((tmp_path / "mirror").rglob(PARTIAL))


def test_a_line_that_is_cut_is_tried_again_by_the_same_sync(port: int, tmp_path: Path) -> None:
    heard: list[Event] = []
    with faulty_line(port, {FETCH: Fault(1_000_000, "cut")}) as line:
        assert run(over(line, tmp_path, tries=2), heard.append).added == 3
    notes = [event.text for event in heard if isinstance(event, Note)]
    assert len(notes) == 1
    assert notes[0].startswith("range 2/01, try 1: ")


def test_a_server_that_goes_silent_in_mid_file_is_given_up_and_tried_again(port: int, tmp_path: Path) -> None:
    heard: list[Event] = []
    with faulty_line(port, {FETCH: Fault(1_000_000, "silence")}) as line:
        assert run(over(line, tmp_path, tries=2, silence_s=1), heard.append).added == 3
    assert any("silent" in event.text for event in heard if isinstance(event, Note))


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with silent_server() as port, pytest.raises(BrokenConnection, match=r"silent|did not answer|no connection"):
        run(over(Line(port), tmp_path, tries=1, silence_s=1), ignore)


def test_a_source_sees_one_connection_at_a_time_with_a_limit_and_pauses_between_ranges(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    real = rsync_module._run

    def noted(arguments: list[str], *rest: object) -> Iterator[str]:
        done.append(next((word for word in arguments if word.startswith("--bwlimit")), "list"))
        yield from real(arguments, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(rsync_module, "_run", noted)
    only_one = ("max connections = 1", f"lock file = {tmp_path / 'lock'}")
    with daemon(tree, tmp_path / "daemon", *only_one) as source:
        monkeypatch.setattr(sync.time, "sleep", lambda seconds: done.append(f"pause {seconds}"))
        polite = Politeness(bandwidth_kib_s=50_000, pause_s=2.5, silence_s=10, tries=1)
        assert run(SyncRequest(source, tmp_path / "mirror", (), polite), ignore).files == 6
    whole_tree, fetched = ["list", "list", "list"], ["list", "--bwlimit=50000"]
    assert done == [*whole_tree, *fetched, "pause 2.5", *fetched]
    assert Politeness() == Politeness(bandwidth_kib_s=2000, pause_s=2.0, silence_s=60, tries=3)
