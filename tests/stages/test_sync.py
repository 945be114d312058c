"""A mirror follows its source, a real rsync daemon: what is added, changed, withdrawn, cut off, refused, or full."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "catalog"))
from cif_texts import cif
from rsync_daemon import daemon, entry_path, make_tree, put

from hpc_mlsm.catalog import rsync as rsync_module
from hpc_mlsm.catalog.mirror import Mirror, source_files
from hpc_mlsm.catalog.rsync import BrokenConnection, Politeness
from hpc_mlsm.errors import CatalogueError, ConfigError, RunError
from hpc_mlsm.runtime.events import Event, Note, ignore
from hpc_mlsm.runtime.lock import RunLock
from hpc_mlsm.stages.sync import SyncRequest, preview, run, shown_ranges

pytestmark = pytest.mark.skipif(shutil.which("rsync") is None, reason="the program rsync is not installed")
QUICK = Politeness(bandwidth_kib_s=0, pause_s=0.0, silence_s=10, tries=2)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "cod")


@pytest.fixture
def source(tree: Path, tmp_path: Path) -> Iterator[str]:
    with daemon(tree, tmp_path / "daemon") as address:
        yield address


def request(source: str, tmp_path: Path, *ranges: str, **more: object) -> SyncRequest:
    return SyncRequest(source, tmp_path / "mirror", ranges, QUICK, **more)  # type: ignore[arg-type]


def counts(source: str, tmp_path: Path, *ranges: str) -> tuple[int, int, int, int]:
    found = run(request(source, tmp_path, *ranges), ignore)
    return found.added, found.changed, found.withdrawn, found.files


def test_a_mirror_follows_its_source(source: str, tree: Path, tmp_path: Path) -> None:
    assert shown_ranges(preview(request(source, tmp_path))) == (5, 0, 0)
    assert not (tmp_path / "mirror").exists()
    assert counts(source, tmp_path) == (5, 0, 0, 5)
    copy = tmp_path / "mirror" / "cif" / entry_path("1000000")
    assert copy.read_text() == cif("Ni", 3.52)
    assert counts(source, tmp_path) == (0, 0, 0, 5)
    put(tree, "1000000", cif("Ni", 3.53), age_s=500)
    put(tree, "1000002", cif("Pt", 3.92))
    (tree / entry_path("2010500")).unlink()
    assert shown_ranges(preview(request(source, tmp_path))) == (1, 1, 1)
    assert counts(source, tmp_path) == (1, 1, 1, 5)
    assert copy.read_text() == cif("Ni", 3.53)
    with Mirror(tmp_path / "mirror") as mirror:
        assert mirror.tombstones() == {entry_path("2010500"): 3}
        last = mirror.last_sync(finished=True)
        assert last is not None
        assert (last.number, last.source, last.ranges) == (3, source, ("1/00", "2/01"))
    assert (tmp_path / "mirror" / "withdrawn" / entry_path("2010500")).is_file()
    put(tree, "2010500", cif("Pd", 3.9))
    assert counts(source, tmp_path)[:3] == (1, 0, 0)
    with Mirror(tmp_path / "mirror") as mirror:
        assert mirror.tombstones() == {}


def test_only_the_ranges_that_are_asked_for_are_touched(source: str, tree: Path, tmp_path: Path) -> None:
    assert counts(source, tmp_path, "1/00") == (3, 0, 0, 3)
    assert not (tmp_path / "mirror" / "cif" / "2").exists()
    counts(source, tmp_path)
    (tree / entry_path("2010500")).unlink()
    assert counts(source, tmp_path, "1/00/01") == (1, 0, 0, 1)
    assert counts(source, tmp_path, "1/00") == (0, 0, 0, 3)
    with Mirror(tmp_path / "mirror") as mirror:
        assert mirror.tombstones() == {}
    with pytest.raises(ConfigError, match="such as 1/00"):
        request(source, tmp_path, "../etc")


def test_ingest_takes_the_numbers_of_a_mirror_for_ids(source: str, tmp_path: Path) -> None:
    counts(source, tmp_path)
    files = source_files(tmp_path / "mirror")
    assert [file.id for file in files] == ["1000000", "1000001", "1000123", "2010500", "2010501"]
    assert Path(files[0].path).read_text() == cif("Ni", 3.52)
    assert files[0].mtime_ns == Path(files[0].path).stat().st_mtime_ns


def test_a_source_that_lost_most_of_a_range_is_not_believed(source: str, tree: Path, tmp_path: Path) -> None:
    for number in range(1000200, 1000350):
        put(tree, str(number), cif("Ni", 3.5))
    counts(source, tmp_path, "1/00")
    for number in range(1000200, 1000350):
        (tree / entry_path(str(number))).unlink()
    with pytest.raises(CatalogueError, match=r"lost 150 of 153 files of range 1/00.*--accept-losses"):
        run(request(source, tmp_path, "1/00"), ignore)
    assert (tmp_path / "mirror" / "cif" / entry_path("1000200")).exists()
    assert run(request(source, tmp_path, "1/00", accept_losses=True), ignore).withdrawn == 150


def test_a_killed_sync_goes_on_where_it_was(tree: Path, tmp_path: Path) -> None:
    """Killed for real in its second range, which a slow line makes long."""
    put(tree, "2010600", cif("Pd", 3.89) + "#" + "x" * 3_000_000)
    with daemon(tree, tmp_path / "daemon") as source:
        code = (
            "import sys; from pathlib import Path; from hpc_mlsm.stages.sync import *;"
            "from hpc_mlsm.runtime.events import ignore;"
            f"run(SyncRequest({source!r}, Path({str(tmp_path / 'mirror')!r}), (), Politeness(400, 0.0, 10, 1)), ignore)"
        )
        process = subprocess.Popen([sys.executable, "-c", code])
        partial = tmp_path / "mirror" / "cif" / "2" / "01" / "06"
        for _ in range(600):
            if partial.is_dir() and any(partial.iterdir()):
                break
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "mirror" / "cif" / entry_path("2010600")).exists()
        found = run(request(source, tmp_path), ignore)
    assert (found.number, found.ranges, found.ranges_before, found.added) == (1, 1, 1, 6)
    for path in tree.rglob("*.cif"):
        assert (tmp_path / "mirror" / "cif" / path.relative_to(tree)).read_bytes() == path.read_bytes()


def test_a_connection_that_breaks_is_tried_again(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Event] = []
    real, calls = rsync_module._run, []

    def cut_off_once(arguments: list[str], *rest: object) -> Iterator[str]:
        calls.append(arguments)
        if len(calls) == 2:
            raise BrokenConnection("the connection broke")
        yield from real(arguments, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(rsync_module, "_run", cut_off_once)
    found = run(request(source, tmp_path, "1/00"), heard.append)
    assert found.added == 3
    assert [event.text for event in heard if isinstance(event, Note)] == ["range 1/00, try 1: the connection broke"]


def test_refusals_say_what_to_do(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CatalogueError, match="no connection: the server is down"):
        run(request("rsync://127.0.0.1:9/cif", tmp_path), ignore)
    with daemon(tree, tmp_path / "d1") as source, pytest.raises(CatalogueError, match="has no such module"):
        run(request(source.replace("/cif", "/nothing"), tmp_path), ignore)
    with daemon(tree, tmp_path / "d2", "hosts deny = *") as source, pytest.raises(CatalogueError, match="refused"):
        run(request(source, tmp_path), ignore)
    with (
        daemon(tree, tmp_path / "d3") as source,
        pytest.raises(CatalogueError, match=r"9/99.*could not be"),
    ):
        run(request(source, tmp_path, "9/99"), ignore)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CatalogueError, match="rsync is not installed"):
        run(request("rsync://127.0.0.1:9/cif", tmp_path), ignore)


def test_a_second_sync_is_told_who_holds_the_mirror(source: str, tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    with RunLock(tmp_path / "mirror"), pytest.raises(RunError, match=rf"in use by .*{os.getpid()}"):
        run(request(source, tmp_path), ignore)


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk can only be mounted by root")
def test_a_full_disk_is_named_and_the_sync_goes_on_when_there_is_room(source: str, tree: Path, tmp_path: Path) -> None:
    put(tree, "2010600", cif("Pd", 3.89) + "#" + "x" * 3_000_000)
    disk = tmp_path / "mirror"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        with pytest.raises(CatalogueError, match="disk of the mirror is not full"):
            run(request(source, tmp_path), ignore)
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        assert run(request(source, tmp_path), ignore).files == 6
    finally:
        subprocess.run(["umount", str(disk)], check=True)
