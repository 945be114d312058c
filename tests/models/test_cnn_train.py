"""Training of a network by one process; tests/stages/test_cnn_ranks.py has the rest."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from peaks import CLASSES, TRAIN, VALIDATION, Peaks, small

from hpc_mlsm.errors import ConfigError, StoreError
from hpc_mlsm.models.cnn_feed import Feed, plain_batches
from hpc_mlsm.models.cnn_history import EpochRecord, Hooks
from hpc_mlsm.models.cnn_settings import CnnSettings
from hpc_mlsm.models.cnn_train import TrainedCnn, train_cnn

tf = pytest.importorskip("tensorflow", reason="tensorflow is not installed (extra cnn)")


def trained(folder: Path, settings: CnnSettings, hooks: Hooks | None = None, train: Peaks = TRAIN) -> TrainedCnn:
    return train_cnn(train, VALIDATION, CLASSES, settings, folder, "the data", hooks=hooks)


def stop_at(step: int) -> Hooks:
    """Told to stop at this step, counted over all epochs from 1."""
    asked = iter(range(1, 10**9))
    return Hooks(should_stop=lambda: next(asked) == step)


def same(one: TrainedCnn, two: TrainedCnn) -> bool:
    numbers = [[replace(record, seconds=0.0, waiting=0.0) for record in training.history] for training in (one, two)]
    return numbers[0] == numbers[1] and all(np.array_equal(a, b) for a, b in zip(one.weights, two.weights, strict=True))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> TrainedCnn:
    return trained(tmp_path_factory.mktemp("undisturbed"), small(epochs=8))


def test_it_learns(undisturbed: TrainedCnn) -> None:
    assert undisturbed.finished
    assert undisturbed.history[-1].accuracy > 0.95
    # Always guessing the commonest class gives 0.6.
    assert undisturbed.history[undisturbed.best_epoch - 1].validation_accuracy > 0.85


def test_every_epoch_is_complete_and_its_classes_are_equally_frequent(undisturbed: TrainedCnn) -> None:
    commonest = np.bincount(TRAIN.targets["class"]).max()
    assert {record.rows for record in undisturbed.history} == {CLASSES * commonest}


@pytest.mark.parametrize("step", [1, 20, 34])
def test_stopped_at_any_step_it_goes_on_to_exactly_the_same_weights(
    tmp_path: Path, undisturbed: TrainedCnn, step: int
) -> None:
    settings = small(epochs=8)
    first = trained(tmp_path, settings, stop_at(step))
    assert not first.finished
    # The signal is heard one step later, unless the epoch is over.
    steps = first.history[0].steps if first.history else undisturbed.history[0].steps
    assert first.progress[0] * steps + first.progress[1] - step in (0, 1)
    second = trained(tmp_path, settings)
    assert second.resumed_from == first.progress
    assert same(second, undisturbed)


def test_checkpoints_between_epochs_change_nothing(tmp_path: Path, undisturbed: TrainedCnn) -> None:
    assert same(trained(tmp_path, small(epochs=8, checkpoint_minutes=1e-9)), undisturbed)


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    first = trained(tmp_path, small(epochs=1))
    told: list[EpochRecord] = []
    second = trained(tmp_path, small(epochs=1), Hooks(on_epoch=told.append))
    assert told == []
    assert same(first, second)


def test_it_ends_when_the_validation_loss_stalls_and_gives_the_best_weights(tmp_path: Path) -> None:
    settings = small(epochs=30, patience=2, min_delta=0.2, schedule="constant")
    result = trained(tmp_path, settings)
    assert len(result.history) == result.best_epoch + 2 < 30
    shorter = trained(tmp_path / "shorter", replace(settings, epochs=result.best_epoch))
    assert all(np.array_equal(a, b) for a, b in zip(result.weights, shorter.weights, strict=True))


def test_other_heads_are_learnt_as_well(tmp_path: Path) -> None:
    full = Peaks.make(300, 1)
    settings = small(heads=("space_group", "cell"), epochs=2)
    result = train_cnn(full, Peaks.make(50, 2), CLASSES, settings, tmp_path, "x")
    assert result.history[1].loss < result.history[0].loss
    with pytest.raises(ConfigError, match=r"learn cell, which the patterns do not have; take that from train\.cnn"):
        train_cnn(full.keep("class", "space_group"), VALIDATION, CLASSES, settings, tmp_path / "no", "x")


def test_the_published_training_runs(tmp_path: Path) -> None:
    settings = CnnSettings.paper(epochs=1, batch=32, device="cpu")
    long = [replace_points(part, 20) for part in (Peaks.make(40, 1), Peaks.make(20, 2))]
    result = train_cnn(long[0].keep("class"), long[1].keep("class"), CLASSES, settings, tmp_path, "x")
    assert result.finished
    assert np.isfinite(result.history[0].loss)


def replace_points(peaks: Peaks, times: int) -> Peaks:
    stretched = np.repeat(peaks.patterns, times, axis=1)
    return Peaks(stretched, peaks.targets, n_points=stretched.shape[1])


def test_what_is_written_can_be_read_by_others(tmp_path: Path) -> None:
    result = trained(tmp_path, small(epochs=2))
    history = json.loads((tmp_path / "history.json").read_text())
    assert [record["epoch"] for record in history] == [1, 2]
    (log,) = (tmp_path / "tensorboard").glob("events.out.tfevents.*")
    found = {}
    for event in tf.compat.v1.train.summary_iterator(str(log)):
        for value in event.summary.value:
            assert value.metadata.plugin_data.plugin_name == "scalars"
            found[value.tag, event.step] = float(tf.make_ndarray(value.tensor))
    for record in result.history:
        assert found["validation_loss", record.epoch] == pytest.approx(record.validation_loss)
    assert {tag for tag, _ in found} == set(history[0]) - {"epoch"}


def test_a_learning_rate_that_is_far_too_high_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"training loss became (nan|inf) in epoch \d+.*lower train\.cnn\.learning"):
        trained(tmp_path, small(learning_rate=1e30, schedule="constant", epochs=20))


class Damaged(Peaks):
    def read(self, shard: int, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        if shard == 3:
            raise StoreError("shard-3.h5 is damaged: run simulate again")
        return super().read(shard, rows)


def test_a_shard_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    damaged = Damaged(TRAIN.patterns, TRAIN.targets)
    with pytest.raises(StoreError, match=r"shard-3\.h5 is damaged"):
        trained(tmp_path, small(), train=damaged)
    with pytest.raises(StoreError, match=r"shard-3\.h5 is damaged"):
        list(plain_batches(damaged, 16))


def test_one_class_and_no_validation_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least two classes, found 1"):
        train_cnn(TRAIN, VALIDATION, 1, small(), tmp_path, "x")
    nothing = Peaks(TRAIN.patterns[:0], {"class": TRAIN.targets["class"][:0]})
    with pytest.raises(ConfigError, match="no pattern for validation"):
        train_cnn(TRAIN, nothing, CLASSES, small(), tmp_path, "x")


def test_patterns_are_read_ahead_only_so_far(tmp_path: Path) -> None:
    many = Peaks.make(5000, 3).keep("class")
    settings = small(batch=50, epochs=3)
    feed = Feed(many, settings)
    for _ in range(5):
        patterns, targets, chances, total = next(feed)
        assert len(patterns) == len(targets["class"]) == len(chances) == int(total) <= 50
    feed.close()
    assert feed.waited_s >= 0
    # Five batches, those that are ready, and a window of each lane.
    assert many.asked <= (5 + 32 + 2) * 50 + 64 * 64 + 100


def test_validation_patterns_come_once_over_all_ranks() -> None:
    counts = [sum(len(patterns) for patterns, _ in plain_batches(VALIDATION, 16, rank, 3)) for rank in range(3)]
    assert sum(counts) == 120
    assert max(counts) - min(counts) <= 1
