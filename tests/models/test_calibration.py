"""Temperature scaling finds a planted temperature; the calibration error has its closed forms."""

import numpy as np
import pytest
from scipy.special import softmax

from hpc_mlsm.models import calibration
from hpc_mlsm.models.calibration import expected_calibration_error, fit_temperature, probabilities


def planted(temperature: float, rows: int = 20_000, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels drawn from the probabilities that those scores mean at a temperature."""
    generator = np.random.default_rng(3)
    margins = (2 * generator.normal(size=(rows, classes))).astype(np.float32)
    chances = softmax(margins / temperature, axis=1)
    labels = (chances.cumsum(axis=1) > generator.random((rows, 1))).argmax(axis=1)
    return margins, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_planted_temperature_is_found(temperature: float) -> None:
    # 20 000 draws fix it to about 2 % (the information on 1/T is rows × the variance of the chosen score).
    assert fit_temperature(*planted(temperature)) == pytest.approx(temperature, rel=0.05)


def test_calibrated_probabilities_mean_what_they_say() -> None:
    margins, labels = planted(2.5)
    before = probabilities(margins, 1.0)
    after = probabilities(margins, fit_temperature(margins, labels))
    errors = [expected_calibration_error(p.max(axis=1), p.argmax(axis=1) == labels) for p in (before, after)]
    assert errors[0] > 0.1
    assert errors[1] < 0.015  # what is left is the scatter of about 1300 rows a bin: 0.01


def test_the_temperature_does_not_depend_on_how_rows_are_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    margins, labels = planted(2.0, rows=500)
    whole = fit_temperature(margins, labels)
    monkeypatch.setattr(calibration, "BLOCK_BYTES", 7 * 8 * 5)
    assert fit_temperature(margins, labels) == pytest.approx(whole, rel=1e-6)


def test_scores_that_are_always_right_or_say_nothing_give_a_finite_temperature() -> None:
    labels = np.arange(100) % 4
    certain = np.eye(4, dtype=np.float32)[labels] * 50
    assert 0.05 <= fit_temperature(certain, labels) <= 20
    assert 0.05 <= fit_temperature(-certain, labels) <= 20
    assert 0.05 <= fit_temperature(np.zeros((100, 4), np.float32), labels) <= 20


def test_probabilities_are_a_softmax_and_add_up() -> None:
    margins = np.array([[1000.0, 0.0, -1000.0], [1.0, 2.0, 3.0]], dtype=np.float32)
    found = probabilities(margins, 2.0)
    assert np.isfinite(found).all()
    assert found[0].tolist() == [1.0, 0.0, 0.0]
    assert np.allclose(found[1], np.exp([0.5, 1.0, 1.5]) / np.exp([0.5, 1.0, 1.5]).sum(), atol=1e-6)
    assert np.allclose(found.sum(axis=1), 1.0, atol=1e-6)


def test_the_calibration_error_has_its_closed_forms() -> None:
    right, wrong = np.ones(10, bool), np.zeros(10, bool)
    assert expected_calibration_error(np.ones(10), right) == 0.0
    assert expected_calibration_error(np.ones(10), wrong) == 1.0
    assert expected_calibration_error(np.full(10, 0.7), np.arange(10) < 7) == pytest.approx(0.0, abs=1e-12)
    assert expected_calibration_error(np.full(10, 0.7), np.arange(10) < 4) == pytest.approx(0.3)
    # Two bins of 30 and 10 rows with gaps of 0.1 and 0.5: (30 × 0.1 + 10 × 0.5) / 40.
    confidence = np.repeat([0.9, 0.5], [30, 10])
    correct = np.concatenate([np.arange(30) < 24, np.zeros(10, bool)])
    assert expected_calibration_error(confidence, correct) == pytest.approx(0.2)
    # Gaps of opposite sign in different bins do not cancel, within one bin they do.
    assert expected_calibration_error(np.array([0.9, 0.1]), np.array([False, True])) == pytest.approx(0.9)
    assert expected_calibration_error(np.array([0.51, 0.52]), np.array([True, False]), bins=2) == pytest.approx(0.015)
    assert expected_calibration_error(np.zeros(0), np.zeros(0, bool)) == 0.0
