"""Runs on a real cluster that something happens to in their middle: nothing is lost, little is done again."""

from pathlib import Path

import pytest
from _disks_and_poison import on_a_full_disk, with_poison
from _disturbances import NotThereError
from _disturbed import Reference
from failures import disturb

pytestmark = [pytest.mark.slow, pytest.mark.slurm]

IN_FLIGHT = 2 * 4
"""Structures of the tasks that two workers have, a few of one structure each."""


@pytest.mark.parametrize(
    ("name", "executor", "seen", "resumed"),
    [
        ("worker", "local", "nothing", "went on"),
        ("driver", "local", "FAILED 137", "submitted again"),
        ("scheduler", "runner", "FAILED", "submitted again"),
        ("node-down", "local", "requeued", "requeued"),
    ],
)
def test_simulation_is_whole_after(
    made: Reference, folder: Path, name: str, executor: str, seen: str, resumed: str
) -> None:
    row = disturb(name, "simulate", executor, made, folder)
    assert row["check"] == "equal"
    assert row["end"] == "COMPLETED 0"
    assert row["seen"].startswith(seen)
    assert row["resumed"] == resumed
    assert 0 < row["before"] < row["of"]
    assert row["redone"] <= IN_FLIGHT


@pytest.mark.parametrize(("name", "resumed"), [("driver", "submitted again"), ("usr1", "requeued")])
def test_training_goes_on_from_its_checkpoint_after(made: Reference, folder: Path, name: str, resumed: str) -> None:
    row = disturb(name, "train", "local", made, folder)
    assert row["check"] == "equal"
    assert row["end"] == "COMPLETED 0"
    assert row["resumed"] == resumed
    assert 0 < row["before"] < row["of"]
    assert row["redone"] <= 10  # rounds between checkpoints


def test_a_run_whose_disk_is_full_goes_on_once_there_is_room(made: Reference, folder: Path) -> None:
    folder.mkdir()
    try:
        row = on_a_full_disk("full-store", "simulate", made, folder)
    except NotThereError as error:
        pytest.skip(str(error))
    assert row["seen"] == "FAILED 1"
    assert "space" in row["said"]
    assert row["check"] == "equal"


def test_a_structure_that_kills_workers_of_an_allocation_is_set_aside(made: Reference, folder: Path) -> None:
    row = with_poison("poison-segfault", "runner", made, folder)
    assert row["check"] == "equal but for the poison"
    assert row["end"] == "COMPLETED 0"
