"""The group stage over several goes: what it takes over, and that it comes to what one go over everything does."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from small_run import FORMULAE, opened, small_config, write_cifs

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.grouping.groups import SavedGroups, load_groups
from hpc_mlsm.runtime.events import Event, TaskFinished
from hpc_mlsm.stages import correlate, group, ingest, simulate
from hpc_mlsm.stages.context import open_run
from hpc_mlsm.stages.group import GroupSummary
from hpc_mlsm.stages.run_directory import RunDirectory

LOOSE = "group.threshold=0.5"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("correlate")
    cifs = write_cifs(folder / "cifs")
    with opened(folder / "run", small_config(cifs)) as context:
        ingest.run(context)
        simulate.run(context)
    return folder / "run", cifs


@pytest.fixture
def copied(simulated: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A copy of the run and its CIFs, to be correlated in panels of four patterns."""
    monkeypatch.setattr(correlate, "PANEL_ROWS", 4)
    shutil.copytree(simulated[0], tmp_path / "run")
    shutil.copytree(simulated[1], tmp_path / "cifs")
    return tmp_path / "run", tmp_path / "cifs"


def grouped(run: Path, cifs: Path, *overrides: str) -> tuple[GroupSummary, SavedGroups]:
    """Bring catalogue and store up to date, and group."""
    with opened(run, small_config(cifs, *overrides)) as context:
        ingest.run(context)
        simulate.run(context)
        return group.run(context), load_groups(context.run.groups)


def anew(run: Path, cifs: Path, *overrides: str) -> SavedGroups:
    """The groups of the same structures without anything from before."""
    shutil.copytree(run, run.with_name("anew"), ignore=shutil.ignore_patterns("groups"))
    return grouped(run.with_name("anew"), cifs, *overrides)[1]


def assert_same_but_for_ids(one: SavedGroups, other: SavedGroups) -> None:
    for column in ("i", "j", "correlation"):
        np.testing.assert_array_equal(getattr(one.edges, column), getattr(other.edges, column))
    assert (one.ids, one.digests) == (other.ids, other.digests)
    assert {a.members: a.representative for a in one.groups} == {b.members: b.representative for b in other.groups}


def test_another_linkage_compares_nothing_again(copied: tuple[Path, Path]) -> None:
    run, cifs = copied
    first, before = grouped(run, cifs, LOOSE)
    assert (first.fresh, first.pairs, first.reused) == (len(FORMULAE), 6 * 4 * 4, False)
    again, after = grouped(run, cifs, LOOSE, "group.linkage=complete")
    assert (again.fresh, again.pairs, again.reused) == (0, 0, False)
    assert after.revision == before.revision + 1
    assert_same_but_for_ids(after, anew(run, cifs, LOOSE, "group.linkage=complete"))


def test_another_threshold_compares_all_again_and_ids_go_on(copied: tuple[Path, Path]) -> None:
    run, cifs = copied
    _, before = grouped(run, cifs, LOOSE)
    again, after = grouped(run, cifs, "group.threshold=0.9")
    assert again.fresh == len(FORMULAE)
    assert {one.id for one in before.groups} <= {one.id for one in after.groups}
    assert_same_but_for_ids(after, anew(run, cifs, "group.threshold=0.9"))


def test_a_structure_that_comes_back_is_compared_again(copied: tuple[Path, Path]) -> None:
    run, cifs = copied
    grouped(run, cifs, LOOSE)
    text = (cifs / "NaCl.cif").read_text()
    (cifs / "NaCl.cif").unlink()
    gone, _ = grouped(run, cifs, LOOSE)
    assert (gone.fresh, gone.pairs) == (0, 0)
    (cifs / "NaCl.cif").write_text(text)
    back, after = grouped(run, cifs, LOOSE)
    assert back.fresh == 1
    assert_same_but_for_ids(after, anew(run, cifs, LOOSE))


def test_panels_are_written_anew_when_many_of_their_patterns_are_dead(copied: tuple[Path, Path]) -> None:
    run, cifs = copied
    grouped(run, cifs, LOOSE)
    names = {path.name for path in (run / "groups" / "panels").glob("*.h5")}
    for formula in FORMULAE[:5]:
        (cifs / f"{formula}.cif").unlink()
    write_cifs(cifs, ("LaB6",))
    did, after = grouped(run, cifs, LOOSE)
    assert did.fresh == 1
    assert did.pairs == 4 + 3  # the new one against the seven that are left
    kept = {path.name for path in (run / "groups" / "panels").glob("*.h5")}
    assert len(kept) == 3
    assert not names & kept
    assert_same_but_for_ids(after, anew(run, cifs, LOOSE))


@pytest.mark.parametrize("what", ["panels.json", "panel-*.h5"])
def test_panels_that_cannot_be_read_are_made_again(copied: tuple[Path, Path], what: str) -> None:
    run, cifs = copied
    grouped(run, cifs, LOOSE)
    next((run / "groups" / "panels").glob(what)).write_bytes(b"damaged")
    write_cifs(cifs, ("LaB6",))
    did, after = grouped(run, cifs, LOOSE)
    assert did.fresh == 1
    assert_same_but_for_ids(after, anew(run, cifs, LOOSE))


def test_tasks_that_were_finished_before_a_stop_are_not_done_again(copied: tuple[Path, Path]) -> None:
    run, cifs = copied
    config = small_config(cifs, LOOSE)
    counts = []

    class StoppedError(Exception):
        pass

    def stop_after_two(event: Event) -> None:
        if isinstance(event, TaskFinished) and event.stage == "group":
            counts.append(event.task_id)
            if len(counts) == 2:
                raise StoppedError

    with pytest.raises(StoppedError), open_run(RunDirectory(run), config, stop_after_two) as context:
        group.run(context)
    heard: list[Event] = []
    with opened(run, config, heard) as context:
        group.run(context)
    later = [event.task_id for event in heard if isinstance(event, TaskFinished) and event.stage == "group"]
    assert len(later) == 6 - 2
    assert not set(later) & set(counts)
    assert not (run / "groups" / "parts").exists()
    assert_same_but_for_ids(load_groups(run / "groups"), anew(run, cifs, LOOSE))


def test_edges_are_the_same_with_and_without_bounds(copied: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    run, cifs = copied
    monkeypatch.setattr(correlate, "PRUNE_FROM", 1)
    with_bounds, one = grouped(run, cifs, "group.threshold=0.95")
    shutil.rmtree(run / "groups")
    without, other = grouped(run, cifs, "group.threshold=0.95", "group.prune=false")
    assert without.proven == 0
    assert_same_but_for_ids(one, other)
    assert with_bounds.edges == without.edges


def test_a_gpu_that_is_not_there_is_refused(copied: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    with pytest.raises(ConfigError, match="CuPy is not installed"):
        grouped(*copied, LOOSE, "group.device=cuda")
