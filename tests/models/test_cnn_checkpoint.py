"""Checkpoints and history of a network in training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpc_mlsm.errors import StoreError
from hpc_mlsm.models.cnn_checkpoint import (
    STATE,
    CnnCheckpoint,
    Progress,
    checkpoint_digest,
    load_checkpoint,
    save_checkpoint,
)
from hpc_mlsm.models.cnn_history import EpochRecord, best_epoch, is_finished
from hpc_mlsm.models.cnn_settings import CnnSettings

RECORD = EpochRecord(1, 0.5, 0.8, 0.25, 0.9, 1e-3, 10, 320, 1.5, 0.01)


def arrays(seed: int, n: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((3, k + 1)).astype(np.float32) for k in range(n)]


def checkpoint(epoch: int = 1, step: int = 0, *, best: bool = True) -> CnnCheckpoint:
    progress = Progress(epoch, step, {"loss": 0.1 + epoch, "correct": 7.0, "count": 9.0}, 2.5, 0.5, [RECORD] * epoch)
    # More than ten, so that they would come back in another order if they were sorted as text.
    state = [np.array(17), *arrays(epoch, 12)]
    return CnnCheckpoint(progress, arrays(epoch + 10, 12), state, arrays(5, 12) if best else None)


def same(one: CnnCheckpoint | None, two: CnnCheckpoint) -> bool:
    def equal(a: list[np.ndarray] | None, b: list[np.ndarray] | None) -> bool:
        if a is None or b is None:
            return a is b
        return len(a) == len(b) and all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(a, b, strict=True))

    return one is not None and (
        one.progress == two.progress
        and equal(one.weights, two.weights)
        and equal(one.optimizer, two.optimizer)
        and equal(one.best, two.best)
    )


@pytest.mark.parametrize("best", [True, False])
def test_it_comes_back_as_it_was_saved(tmp_path: Path, best: bool) -> None:
    save_checkpoint(tmp_path / "new", checkpoint(best=best), "f")
    assert same(load_checkpoint(tmp_path / "new", "f"), checkpoint(best=best))


def test_a_later_one_replaces_it_and_what_did_not_change_is_not_written_again(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(1), "f")
    (best,) = tmp_path.glob("cnn-best-*")
    written = best.stat().st_mtime_ns
    save_checkpoint(tmp_path, checkpoint(2, 3), "f")
    assert same(load_checkpoint(tmp_path, "f"), checkpoint(2, 3))
    assert len(list(tmp_path.glob("*.npz"))) == 2
    assert best.stat().st_mtime_ns == written


def test_of_another_fingerprint_or_none_is_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path, "f") is None
    assert checkpoint_digest(tmp_path, "f") == ""
    save_checkpoint(tmp_path, checkpoint(), "f")
    assert load_checkpoint(tmp_path, "g") is None
    assert checkpoint_digest(tmp_path, "g") == ""


def test_the_digest_tells_checkpoints_apart(tmp_path: Path) -> None:
    digests = []
    for epoch in (1, 2):
        save_checkpoint(tmp_path, checkpoint(epoch), "f")
        digests.append(checkpoint_digest(tmp_path, "f"))
    assert len({*digests, ""}) == 3


@pytest.mark.parametrize("name", ["cnn-0*.npz", "cnn-best*.npz", STATE])
@pytest.mark.parametrize("cut", [0, 100, -1])
def test_a_damaged_one_is_not_believed(tmp_path: Path, name: str, cut: int) -> None:
    save_checkpoint(tmp_path, checkpoint(), "f")
    (path,) = tmp_path.glob(name)
    path.write_bytes(path.read_bytes()[:cut])
    assert load_checkpoint(tmp_path, "f") is None


def test_a_changed_number_in_the_state_is_found(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(), "f")
    text = (tmp_path / STATE).read_text()
    assert '"step": 0' in text
    (tmp_path / STATE).write_text(text.replace('"step": 0', '"step": 5'))
    assert load_checkpoint(tmp_path, "f") is None


def test_a_full_disk_leaves_the_one_before(small_disk: Path) -> None:
    save_checkpoint(small_disk, checkpoint(1), "f")
    large = replace(checkpoint(2), weights=[np.zeros(10**6, dtype=np.float32)])
    with pytest.raises(StoreError, match="No space left on device"):
        save_checkpoint(small_disk, large, "f")
    assert same(load_checkpoint(small_disk, "f"), checkpoint(1))


def course(*losses: float) -> list[EpochRecord]:
    return [replace(RECORD, epoch=k, validation_loss=loss) for k, loss in enumerate(losses, start=1)]


@pytest.mark.parametrize(
    ("losses", "best"),
    [
        ((), 0),
        ((1.0,), 1),
        ((1.0, 0.5, 0.7), 2),
        ((1.0, 0.95, 0.91), 1),
        ((1.0, 0.95, 0.85), 3),
        ((float("nan"), 2.0, float("nan")), 2),
    ],
)
def test_the_best_epoch_is_the_last_that_lowered_the_loss_enough(losses: tuple[float, ...], best: int) -> None:
    assert best_epoch(course(*losses), 0.1) == best


def test_training_ends_after_all_epochs_or_when_the_loss_stalls() -> None:
    settings = CnnSettings(epochs=5, patience=2, min_delta=0.1)
    assert not is_finished(course(3, 2, 1.95), settings)
    assert is_finished(course(3, 2, 1.95, 1.95), settings)
    assert is_finished(course(5, 4, 3, 2, 1), settings)
