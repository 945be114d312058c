"""A checkpoint is believed only when it is whole, unaltered and of the same training."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpc_mlsm.errors import StoreError
from hpc_mlsm.models.checkpoints import STATE, Checkpoint, load_checkpoint, save_checkpoint

BOOSTER = np.random.default_rng(0).bytes(5000)
CHECKPOINT = Checkpoint((1.25, 0.1 + 0.2, 1e-17), BOOSTER)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "checkpoints", CHECKPOINT, "f")
    return tmp_path / "checkpoints"


def test_it_is_read_back_equal(folder: Path) -> None:
    assert load_checkpoint(folder, "f") == CHECKPOINT


def test_the_newest_replaces_the_older_ones(folder: Path) -> None:
    newer = Checkpoint((*CHECKPOINT.history, 0.5), b"newer")
    save_checkpoint(folder, newer, "f")
    assert load_checkpoint(folder, "f") == newer
    assert len(list(folder.iterdir())) == 2


def test_there_is_none_in_an_empty_or_missing_folder(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path, "f") is None
    assert load_checkpoint(tmp_path / "missing", "f") is None


def test_one_of_another_training_is_not_believed(folder: Path) -> None:
    assert load_checkpoint(folder, "g") is None


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "booster cut short": lambda path: path.write_bytes(BOOSTER[:-1]),
    "booster empty": lambda path: path.write_bytes(b""),
    "booster of zeros": lambda path: path.write_bytes(bytes(len(BOOSTER))),
    "one bit flipped": lambda path: flip(path, 2500),
    "booster missing": lambda path: path.unlink(),
    "booster a folder": lambda path: (path.unlink(), path.mkdir()),
    "state cut short": lambda path: path.with_name(STATE).write_bytes(path.with_name(STATE).read_bytes()[:-9]),
    "state empty": lambda path: path.with_name(STATE).write_bytes(b""),
    "state not text": lambda path: path.with_name(STATE).write_bytes(b"\xff\x00\x80"),
    "state a list": lambda path: path.with_name(STATE).write_bytes(b"[1]"),
    "state of nothing": lambda path: path.with_name(STATE).write_bytes(b'{"fingerprint": "f"}'),
    "state missing": lambda path: path.with_name(STATE).unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_one_is_not_believed_and_can_be_replaced(folder: Path, damage: Callable[[Path], object]) -> None:
    damage(folder / "round-00003.ubj")
    assert load_checkpoint(folder, "f") is None
    later = Checkpoint((*CHECKPOINT.history, 0.5), BOOSTER)
    if not (folder / "round-00003.ubj").is_dir():
        save_checkpoint(folder, later, "f")
        assert load_checkpoint(folder, "f") == later


def test_altered_losses_are_not_believed(folder: Path) -> None:
    state = json.loads((folder / STATE).read_text())
    state["history"][0] = 0.25
    (folder / STATE).write_text(json.dumps(state))
    assert load_checkpoint(folder, "f") is None


def test_a_name_that_leads_out_of_the_folder_is_not_followed(folder: Path) -> None:
    state = json.loads((folder / STATE).read_text())
    (folder / state["booster"]).rename(folder.parent / "outside.ubj")
    state["booster"] = "../outside.ubj"
    (folder / STATE).write_text(json.dumps(state))
    assert load_checkpoint(folder, "f") is None


def test_a_kill_between_the_booster_and_the_state_leaves_the_checkpoint_before(folder: Path) -> None:
    (folder / "round-00006.ubj").write_bytes(b"newer, not named by the state")
    (folder / f".{STATE}.part").write_bytes(b'{"fing')
    assert load_checkpoint(folder, "f") == CHECKPOINT


def test_a_full_disk_leaves_the_checkpoint_before(small_disk: Path) -> None:
    save_checkpoint(small_disk, CHECKPOINT, "f")
    too_large = Checkpoint((1.0, 0.5), bytes(2_000_000))
    with pytest.raises(StoreError, match=r"No space left on device\. 2,000,000 bytes are needed"):
        save_checkpoint(small_disk, too_large, "f")
    assert load_checkpoint(small_disk, "f") == CHECKPOINT
    assert len(list(small_disk.iterdir())) == 2
