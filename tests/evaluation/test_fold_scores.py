"""Scores and tables are compared with scikit-learn's and with values counted by hand."""

import csv
import io

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.evaluation.fold_scores import best, cross_validation_scores, dummy_probabilities, score_fold
from hpc_mlsm.evaluation.fold_tables import class_table, confusion_table, measured_table, model_tables, per_class_table

CLASSES = ("triclinic", "monoclinic", "tetragonal", "cubic")
RNG = np.random.default_rng(6)
LABELS = RNG.choice(4, 400, p=[0.4, 0.3, 0.2, 0.1]).astype(np.int64)
FOLDS = (np.arange(400) % 10).astype(np.int16)
PROBABILITIES = RNG.dirichlet(np.ones(4), 400) + 0.5 * np.eye(4)[LABELS]
PROBABILITIES /= PROBABILITIES.sum(axis=1, keepdims=True)


def test_scores_are_those_of_scikit_learn() -> None:
    found, called = score_fold(LABELS, PROBABILITIES), PROBABILITIES.argmax(axis=1)
    precision, recall, f1, _ = precision_recall_fscore_support(LABELS, called)
    assert found.accuracy == pytest.approx(accuracy_score(LABELS, called))
    assert found.top2 == pytest.approx(top_k_accuracy_score(LABELS, PROBABILITIES, k=2))
    assert found.weighted_f1 == pytest.approx(f1_score(LABELS, called, average="weighted"))
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(LABELS, called))
    np.testing.assert_allclose((found.precision, found.recall, found.f1), (precision, recall, f1))
    np.testing.assert_array_equal(found.confusion, confusion_matrix(LABELS, called))


def test_classes_that_a_fold_lacks_do_not_count() -> None:
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1, 0, 0], [0.2, 0.8, 0, 0], [0.1, 0.7, 0.2, 0], [0.1, 0.2, 0, 0.7]])
    found = score_fold(labels, probabilities)
    assert found.balanced_accuracy == 0.5
    assert found.weighted_f1 == pytest.approx(0.5 * (2 / 3) + 0.5 * 0.5)
    assert np.isnan(found.f1[[2, 3]]).all()
    assert np.isnan(found.recall[[2, 3]]).all()
    assert found.precision[3] == 0.0


def test_ties_count_for_the_lower_class() -> None:
    found = score_fold(np.array([0, 1, 2]), np.full((3, 3), 1 / 3))
    assert (found.accuracy, found.top2) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_the_dummy_is_that_of_scikit_learn() -> None:
    dummy = dummy_probabilities(LABELS, FOLDS, 4)
    for fold in range(10):
        outside = fold != FOLDS
        own = DummyClassifier(strategy="prior").fit(np.zeros((outside.sum(), 1)), LABELS[outside])
        np.testing.assert_allclose(dummy[~outside], own.predict_proba(np.zeros((40, 1))))
    result = cross_validation_scores("dummy", "full", CLASSES, LABELS, dummy, FOLDS)
    assert result.mean_std("accuracy")[0] == pytest.approx((LABELS == 0).mean())
    assert result.mean_std("balanced_accuracy")[0] == pytest.approx(0.25)


def results() -> list:
    return [
        cross_validation_scores(model, data_set, CLASSES, LABELS, probabilities, FOLDS)
        for data_set in ("full", "organic")
        for model, probabilities in (("RF", PROBABILITIES), ("dummy", dummy_probabilities(LABELS, FOLDS, 4)))
    ]


def test_means_and_deviations_are_over_the_folds() -> None:
    result = results()[0]
    each = [accuracy_score(LABELS[f == FOLDS], PROBABILITIES[f == FOLDS].argmax(axis=1)) for f in range(10)]
    assert result.mean_std("accuracy") == (pytest.approx(np.mean(each)), pytest.approx(np.std(each, ddof=1)))
    assert result.confusion.sum() == 400
    assert best(results()).model == "RF"
    cubic = [fold.f1[3] for fold in result.folds]
    assert result.class_mean_std("f1", 3)[0] == pytest.approx(np.nanmean(cubic))


def test_the_tables_say_what_was_scored() -> None:
    found = results()
    full, organic = model_tables(found)
    assert (full.name, organic.name) == ("models-full", "models-organic")
    lines = full.text().splitlines()
    assert "400 patterns, 10 folds" in lines[0]
    assert lines[1].split()[:3] == ["Model", "Accuracy", "Top-2"]
    mean, deviation = found[0].mean_std("accuracy")
    assert f"{mean:.3f} ({deviation:.3f})" in lines[3]
    assert lines[4].startswith("dummy")
    rows = list(csv.DictReader(io.StringIO(full.csv())))
    assert float(rows[0]["Accuracy mean"]) == mean
    assert float(rows[1]["Balanced accuracy std"]) == pytest.approx(0.0)
    counts = class_table(found)
    assert counts.columns == ("Class", "full", "full %", "organic", "organic %")
    assert counts.rows[-1] == ("all", 400, 100.0, 400, 100.0)
    assert sum(row[1] for row in counts.rows[:-1]) == 400  # type: ignore[misc]


def test_tables_by_class_and_of_confusion_add_up() -> None:
    result = results()[0]
    by_class = per_class_table(result)
    assert [row[1] for row in by_class.rows] == np.bincount(LABELS).tolist()
    assert next(csv.reader(io.StringIO(by_class.csv())))[2:4] == ["Precision mean", "Precision std"]
    confusion = confusion_table(result)
    assert sum(sum(row[1:]) for row in confusion.rows) == 400  # type: ignore[arg-type,misc]
    assert confusion.columns[4] == "called cubic"


def test_measured_patterns_stand_beside_their_known_classes() -> None:
    answers = {"RF": np.array([[0.1, 0.2, 0.1, 0.6], [0.5, 0.3, 0.2, 0.0]]), "CNN": np.eye(4)[[3, 2]]}
    table = measured_table(["Mn2O3", "TiO2"], answers, CLASSES, ["cubic", "tetragonal"], [(), ("few_peaks",)])
    assert table.rows[0] == ("Mn2O3", "cubic", "cubic 0.60, monoclinic 0.20", "cubic 1.00, triclinic 0.00", "")
    assert table.rows[1][-1] == "few_peaks"
    assert table.rows[2] == ("all", "", "1 of 2 right", "2 of 2 right", "")
    unknown = measured_table(["x"], {"RF": answers["RF"][:1]}, CLASSES, [None])
    assert len(unknown.rows) == 1


def test_missing_folds_and_wrong_shapes_are_refused() -> None:
    holes = PROBABILITIES.copy()
    holes[3] = np.nan
    with pytest.raises(ConfigError, match="run the missing folds"):
        cross_validation_scores("RF", "full", CLASSES, LABELS, holes, FOLDS)
    with pytest.raises(ConfigError, match=r"\(400, 3\) do not fit 400 rows of 4 classes"):
        cross_validation_scores("RF", "full", CLASSES, LABELS, PROBABILITIES[:, :3], FOLDS)
    kept = np.where(np.arange(400) == 3, -1, FOLDS)
    assert cross_validation_scores("RF", "full", CLASSES, LABELS, holes, kept).rows_by_class.sum() == 399
