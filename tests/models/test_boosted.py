"""Boosted trees learn, stop in time, and go on after any interruption as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from blobs import CLASSES, SETTINGS, blobs, streamed

from hpc_mlsm.errors import ConfigError, PlanError, StoreError
from hpc_mlsm.models import boosted
from hpc_mlsm.models.boosted import BoostedModel, Round, predict_margins, settings_fingerprint, train_boosted
from hpc_mlsm.models.checkpoints import STATE
from hpc_mlsm.models.settings import BoostedSettings

TRAIN, VALIDATION, TEST = blobs(400, 0), blobs(120, 1), blobs(300, 2)


def train(checkpoints: Path, settings: BoostedSettings = SETTINGS, fingerprint: str = "f", **more: Any) -> BoostedModel:
    return train_boosted(
        streamed(TRAIN), streamed(VALIDATION), CLASSES, settings, checkpoints, fingerprint, threads=1, **more
    )


def image(model: BoostedModel) -> bytes:
    return bytes(model.booster.save_raw("ubj"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> BoostedModel:
    return train(tmp_path_factory.mktemp("undisturbed"))


class Stopped(Exception):  # noqa: N818
    """Somebody pulled the plug."""


def stop_after(number: int) -> Any:
    def on_round(done: Round) -> None:
        if done.number == number:
            raise Stopped

    return on_round


def test_it_learns_classes_that_a_nearest_centre_can_tell_apart(undisturbed: BoostedModel) -> None:
    margins = predict_margins(undisturbed.booster, TEST[0], CLASSES)
    accuracy = (margins.argmax(axis=1) == TEST[1]).mean()
    centres = np.stack([TRAIN[0][TRAIN[1] == k].mean(axis=0) for k in range(CLASSES)])
    nearest = np.linalg.norm(TEST[0][:, None] - centres, axis=2).argmin(axis=1)
    # The nearest centre is the best there is for such rows; seven shallow rounds come within a fifth of it.
    assert accuracy > 0.8 * (nearest == TEST[1]).mean() > 0.7


def test_the_history_is_the_validation_loss_of_each_round(undisturbed: BoostedModel) -> None:
    assert len(undisturbed.history) == SETTINGS.rounds
    assert undisturbed.best_round == 7
    margins = predict_margins(undisturbed.booster, VALIDATION[0], CLASSES).astype(float)
    chosen = margins[np.arange(len(margins)), VALIDATION[1]]
    loss = (np.log(np.exp(margins).sum(axis=1)) - chosen).mean()
    assert loss == pytest.approx(undisturbed.history[-1], rel=1e-6)  # XGBoost adds up float32


def test_it_stops_when_the_validation_loss_no_longer_falls_and_keeps_the_best_round(tmp_path: Path) -> None:
    settings = replace(SETTINGS, rounds=200, learning_rate=0.9, early_stopping_rounds=4)
    heard: list[Round] = []
    model = train(tmp_path, settings, on_round=heard.append)
    assert len(model.history) < 200
    assert model.best_round == np.argmin(model.history) + 1 == len(model.history) - 4
    assert model.booster.num_boosted_rounds() == model.best_round
    assert [(one.number, one.validation_loss) for one in heard] == list(enumerate(model.history, start=1))


def test_a_model_cut_to_its_best_round_predicts_as_those_rounds_of_the_whole(undisturbed: BoostedModel) -> None:
    whole = undisturbed.booster.inplace_predict(TEST[0], predict_type="margin", iteration_range=(0, 4))
    assert np.array_equal(predict_margins(undisturbed.booster[:4], TEST[0], CLASSES), whole)


def test_streaming_gives_the_model_of_the_same_rows_in_memory(undisturbed: BoostedModel, tmp_path: Path) -> None:
    at_once = train_boosted(
        streamed(TRAIN, batch=10_000), streamed(VALIDATION, batch=10_000), CLASSES, SETTINGS, tmp_path, "f"
    )
    assert image(at_once) == image(undisturbed)


@pytest.mark.parametrize("trees", ["per_class", "vector"])
@pytest.mark.parametrize("stop", [1, 3, 5, 6])
def test_a_training_that_was_stopped_goes_on_to_exactly_the_same_model(tmp_path: Path, stop: int, trees: Any) -> None:
    settings = replace(SETTINGS, trees=trees)
    undisturbed = train(tmp_path / "undisturbed", settings)
    with pytest.raises(Stopped):
        train(tmp_path / "stopped", settings, on_round=stop_after(stop))
    # Something else is trained in between, which must not matter.
    train(tmp_path / "other", replace(settings, seed=5, rounds=2))
    resumed = train(tmp_path / "stopped", settings)
    assert resumed.resumed_from == stop
    assert resumed.history == undisturbed.history
    assert image(resumed) == image(undisturbed)


def test_a_round_whose_loss_was_not_noted_any_more_is_kept(
    tmp_path: Path, undisturbed: BoostedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = xgboost.Booster.eval

    def interrupted(self: xgboost.Booster, *args: Any, **kwargs: Any) -> str:
        if self.num_boosted_rounds() == 2:
            monkeypatch.setattr(xgboost.Booster, "eval", evaluate)
            raise KeyboardInterrupt
        return str(evaluate(self, *args, **kwargs))

    monkeypatch.setattr(xgboost.Booster, "eval", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path)
    resumed = train(tmp_path)
    assert resumed.resumed_from == 2
    assert resumed.history == undisturbed.history


def test_a_finished_training_is_not_done_again(tmp_path: Path, undisturbed: BoostedModel) -> None:
    train(tmp_path)
    heard: list[Round] = []
    again = train(tmp_path, on_round=heard.append)
    assert not heard
    assert again.resumed_from == 7
    assert image(again) == image(undisturbed)


def test_checkpoints_of_other_data_or_settings_are_ignored_and_replaced(
    tmp_path: Path, undisturbed: BoostedModel
) -> None:
    train(tmp_path, replace(SETTINGS, rounds=20, seed=3), fingerprint="other")
    mine = train(tmp_path)
    assert mine.resumed_from == 0
    assert image(mine) == image(undisturbed)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["round-00007.ubj", STATE]
    assert json.loads((tmp_path / STATE).read_text())["fingerprint"] == "f"


CHILD = """
import sys
import time
from dataclasses import replace
from pathlib import Path
from blobs import CLASSES, SETTINGS, blobs, streamed
from hpc_mlsm.models.boosted import train_boosted
def on_round(done):
    if done.number == 8:
        print("round 8", flush=True)
        time.sleep(600)
train_boosted(streamed(blobs(400, 0)), streamed(blobs(120, 1)), CLASSES, replace(SETTINGS, rounds=12),
              Path(sys.argv[1]), "f", on_round=on_round)
"""


def test_a_killed_training_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    settings = replace(SETTINGS, rounds=12)
    undisturbed = train(tmp_path / "undisturbed", settings)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)])}
    command = [sys.executable, "-c", CHILD, str(tmp_path / "killed")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "round 8\n"
        child.send_signal(signal.SIGKILL)
    resumed = train(tmp_path / "killed", settings)
    assert resumed.resumed_from == 6
    assert image(resumed) == image(undisturbed)


def test_fewer_than_two_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least two classes, found 1"):
        train_boosted(streamed(TRAIN), streamed(VALIDATION), 1, SETTINGS, tmp_path, "f")


def has_gpu() -> bool:
    return Path("/dev/nvidia0").exists()


@pytest.mark.skipif(has_gpu(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused_before_the_rows_are_read(tmp_path: Path) -> None:
    def never() -> Any:
        raise AssertionError("rows were asked for")

    with pytest.raises(ConfigError, match=r"train\.boosted\.device is cuda, but XGBoost finds no GPU"):
        train_boosted(never, never, CLASSES, replace(SETTINGS, device="cuda"), tmp_path, "f")


@pytest.mark.gpu
@pytest.mark.skipif(not has_gpu(), reason="there is no GPU")
def test_a_gpu_learns_as_well(tmp_path: Path, undisturbed: BoostedModel) -> None:
    model = train(tmp_path, replace(SETTINGS, device="cuda"))
    # Other random numbers and another order of summation, so the loss is alike and not the same.
    assert model.history[-1] == pytest.approx(undisturbed.history[-1], rel=0.15)


def test_a_class_without_training_rows_does_no_harm(tmp_path: Path) -> None:
    patterns, labels = TRAIN
    there = labels != 2
    model = train_boosted(
        streamed((patterns[there], labels[there])), streamed(VALIDATION), CLASSES, SETTINGS, tmp_path, "f"
    )
    margins = predict_margins(model.booster, TEST[0], CLASSES)
    assert margins.shape == (300, CLASSES)
    assert (margins.argmax(axis=1) == 2).sum() == 0


def test_predictions_do_not_depend_on_how_they_are_batched(
    undisturbed: BoostedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = predict_margins(undisturbed.booster, TEST[0], CLASSES)
    monkeypatch.setattr(boosted, "PREDICT_BYTES", 4 * CLASSES * 7)
    assert np.array_equal(predict_margins(undisturbed.booster, TEST[0], CLASSES), whole)
    assert predict_margins(undisturbed.booster, TEST[0][:0], CLASSES).shape == (0, CLASSES)
    assert np.array_equal(predict_margins(undisturbed.booster, TEST[0].astype(float)[:, ::1], CLASSES), whole)


@pytest.mark.parametrize("said", ["std::bad_alloc", "[12:00:00] cuda out of memory: 3 GB"])
def test_running_out_of_memory_is_said_in_words_and_keeps_what_was_trained(
    tmp_path: Path, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = xgboost.Booster.update

    def failing(self: xgboost.Booster, matrix: Any, iteration: int) -> None:
        if iteration == 4:
            raise xgboost.core.XGBoostError(said)
        update(self, matrix, iteration)

    monkeypatch.setattr(xgboost.Booster, "update", failing)
    with pytest.raises(PlanError, match=r"out of memory in round 5; lower simulate\.variants"):
        train(tmp_path)
    monkeypatch.setattr(xgboost.Booster, "update", update)
    assert train(tmp_path).resumed_from == 4


def test_other_failures_of_xgboost_are_not_disguised(tmp_path: Path) -> None:
    wrong = (TRAIN[0], TRAIN[1] + 1)
    with pytest.raises(xgboost.core.XGBoostError, match="label must be discrete"):
        train_boosted(streamed(wrong), streamed(VALIDATION), CLASSES, SETTINGS, tmp_path, "f")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_ends_the_training_with_the_figures(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(1020 * 1024))
    with pytest.raises(StoreError, match=r"cannot be written: No space left on device\. .* are needed, .* are free"):
        train(small_disk / "checkpoints")
    (small_disk / "ballast").unlink()
    assert train(small_disk / "checkpoints").resumed_from == 0


def test_settings_that_do_not_change_the_model_do_not_change_its_name() -> None:
    plain = settings_fingerprint(SETTINGS)
    assert settings_fingerprint(replace(SETTINGS, checkpoint_every=9, device="cuda")) == plain
    assert settings_fingerprint(replace(SETTINGS, max_depth=4)) != plain
