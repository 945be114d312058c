"""Scores are those of scikit-learn, however the rows are batched, and follow a stated rule for equal scores."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, top_k_accuracy_score

from hpc_mlsm.evaluation.scores import TOP_K, ScoreSheet
from hpc_mlsm.models.calibration import expected_calibration_error

CLASSES = 9


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that favour the right class somewhat, and labels; class 8 never occurs."""
    generator = np.random.default_rng(0)
    labels = generator.choice(8, size=700, p=np.arange(1, 9) / 36)
    scores = generator.random((700, CLASSES))
    scores[np.arange(700), labels] += 0.35
    return scores / scores.sum(axis=1, keepdims=True), labels


@pytest.fixture(scope="module")
def sheet(rows: tuple[np.ndarray, np.ndarray]) -> ScoreSheet:
    filled = ScoreSheet(CLASSES)
    for batch in np.array_split(np.arange(700), 6):
        filled.add(rows[0][batch], rows[1][batch])
    return filled


def test_accuracy_at_k_is_that_of_scikit_learn(sheet: ScoreSheet, rows: tuple[np.ndarray, np.ndarray]) -> None:
    for k in TOP_K:
        expected = top_k_accuracy_score(rows[1], rows[0], k=k, labels=np.arange(CLASSES))
        assert sheet.scores().top_k[k] == pytest.approx(expected, abs=1e-12)
    assert sheet.scores().n_rows == 700
    assert 0.2 < sheet.scores().top_k[1] < sheet.scores().top_k[3] < sheet.scores().top_k[5] < 1


# The class that never occurs is named now and then.
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_balanced_accuracy_is_that_of_scikit_learn(sheet: ScoreSheet, rows: tuple[np.ndarray, np.ndarray]) -> None:
    assert sheet.scores().balanced == pytest.approx(balanced_accuracy_score(rows[1], rows[0].argmax(axis=1)))


def test_the_weakest_classes_and_their_mistakes_are_those_of_the_confusion_matrix(
    sheet: ScoreSheet, rows: tuple[np.ndarray, np.ndarray]
) -> None:
    matrix = confusion_matrix(rows[1], rows[0].argmax(axis=1), labels=np.arange(CLASSES))
    weakest = sheet.weakest(100)
    assert sorted(one.label for one in weakest) == list(range(8))  # the class that never occurs has no score
    assert [one.top1 for one in weakest] == sorted(one.top1 for one in weakest)
    for one in weakest:
        assert one.n_rows == matrix[one.label].sum()
        assert one.top1 == pytest.approx(matrix[one.label, one.label] / one.n_rows)
        wrong = matrix[one.label].copy()
        wrong[one.label] = 0
        assert len(one.mistaken_for) == 3
        assert [share * one.n_rows for _, share in one.mistaken_for] == pytest.approx(sorted(wrong)[:-4:-1])
        assert all(wrong[other] == pytest.approx(share * one.n_rows) for other, share in one.mistaken_for)
    assert sheet.weakest(2) == weakest[:2]


def test_batches_do_not_matter(sheet: ScoreSheet, rows: tuple[np.ndarray, np.ndarray]) -> None:
    whole = ScoreSheet(CLASSES)
    whole.add(*rows)
    whole.add(rows[0][:0], rows[1][:0])
    assert whole.scores() == sheet.scores()
    assert whole.weakest(8) == sheet.weakest(8)
    for one, two in zip(whole.reliability(), sheet.reliability(), strict=True):
        assert np.array_equal(one, two)


def test_of_equal_scores_the_lower_class_ranks_first() -> None:
    sheet = ScoreSheet(6)
    sheet.add(np.zeros((6, 6)), np.arange(6))
    assert sheet.scores().top_k == {1: 1 / 6, 3: 3 / 6, 5: 5 / 6}
    assert sheet.scores().balanced == pytest.approx(1 / 6)
    assert all(one.mistaken_for == ((0, 1.0),) for one in sheet.weakest(5))
    # A dummy that names the most frequent class is right as often as that class occurs.
    dummy = ScoreSheet(3)
    dummy.add(np.broadcast_to([5.0, 9.0, 5.0], (10, 3)), np.array([0, 1, 1, 1, 1, 1, 2, 2, 2, 0]))
    assert dummy.scores().top_k[1] == 0.5
    assert dummy.scores().balanced == pytest.approx(1 / 3)


def test_of_classes_equally_weak_those_with_more_rows_come_first() -> None:
    sheet = ScoreSheet(4)
    sheet.add(np.eye(4)[[1, 0, 0, 0, 3]], np.array([0, 1, 1, 2, 3]))
    assert [(one.label, one.n_rows) for one in sheet.weakest(4)] == [(1, 2), (0, 1), (2, 1), (3, 1)]


def test_fewer_classes_than_k_are_always_named() -> None:
    sheet = ScoreSheet(2)
    sheet.add(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([0, 0]))
    assert sheet.scores().top_k == {1: 0.5, 3: 1.0, 5: 1.0}


def test_no_rows_give_no_score() -> None:
    empty = ScoreSheet(3)
    assert empty.scores().n_rows == 0
    assert set(empty.scores().top_k.values()) == {0.0}
    assert np.isnan(empty.scores().balanced)
    assert empty.weakest(5) == ()
    assert all(len(column) == 0 for column in empty.reliability())


def test_reliability_bins_hold_all_rows_and_give_the_calibration_error(
    sheet: ScoreSheet, rows: tuple[np.ndarray, np.ndarray]
) -> None:
    confidence, accuracy, counts = sheet.reliability(bins=15)
    assert counts.sum() == 700
    assert (np.diff(confidence) > 0).all()
    top, right = rows[0].max(axis=1), rows[0].argmax(axis=1) == rows[1]
    for mean, share, count in zip(confidence, accuracy, counts, strict=True):
        inside = np.floor(top * 15) == np.floor(mean * 15)
        assert count == inside.sum()
        assert mean == pytest.approx(top[inside].mean())
        assert share == pytest.approx(right[inside].mean())
    gap = float((np.abs(confidence - accuracy) * counts).sum() / 700)
    assert gap == pytest.approx(expected_calibration_error(top, right, bins=15))


def test_certainty_lies_in_the_last_bin() -> None:
    sheet = ScoreSheet(2)
    sheet.add(np.array([[1.0, 0.0], [0.99, 0.01]]), np.array([0, 1]))
    confidence, accuracy, counts = sheet.reliability(bins=10)
    assert (confidence.tolist(), accuracy.tolist(), counts.tolist()) == ([0.995], [0.5], [2])


def test_scores_are_plain_numbers_that_json_can_hold(sheet: ScoreSheet) -> None:
    assert json.loads(json.dumps(asdict(sheet.scores())))["n_rows"] == 700
    assert json.loads(json.dumps([asdict(one) for one in sheet.weakest(3)]))[0]["n_rows"] > 0
