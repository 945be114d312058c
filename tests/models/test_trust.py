"""Verdicts and probabilities mean what they say, on classes whose truth is known."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from hpc_mlsm.errors import BundleError
from hpc_mlsm.models.calibration import expected_calibration_error
from hpc_mlsm.models.retrieval import RIDGE, SPANNING, Retrieval
from hpc_mlsm.models.surrogates import no_patterns, with_noise
from hpc_mlsm.models.trust import VERDICTS, Neighbours, Trust, judge, likeliest, pooled
from hpc_mlsm.models.trust_fit import OUTSIDE_ACCEPTED, _passed_by_few, fit_pool, fit_trust
from hpc_mlsm.scattering.normalise import standardise

POINTS, CLASSES = 160, 48
R = 1.0 + 0.1 * np.arange(POINTS)


def patterns(n: int, classes: range, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Curves like PDFs: peaks of each class at places of its own, shifted and broadened from row to row."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(classes)), n)
    rows = []
    for label in labels:
        family, own = np.random.default_rng(classes[label] // 4), np.random.default_rng(classes[label])
        places, heights = family.uniform(1, 17, 25), family.uniform(0.3, 1, 25)
        places[:6], heights[:6] = own.uniform(1, 17, 6), own.uniform(0.3, 1, 6)
        scale, width = 1 + 0.02 * rng.normal(), rng.uniform(0.12, 0.3)
        rows.append((heights * np.exp(-0.5 * ((R[:, None] - places * scale) / width) ** 2)).sum(1) - 0.5)
    return standardise(np.array(rows)), labels.astype(np.int64)


TRAIN, VALIDATION, TEST = (patterns(n, range(CLASSES), seed) for n, seed in ((12, 0), (10, 1), (30, 2)))
RETRIEVAL = Retrieval.of(*TRAIN, CLASSES)


def margins_of(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores of a model that is far too sure of itself."""
    return (40 * Retrieval.of(TRAIN[0][::3], TRAIN[1][::3], CLASSES).correlations(rows)).astype(np.float32)


@pytest.fixture(scope="module")
def fitted() -> tuple[float, Trust]:
    """Temperature and trust of that model."""
    return fit_trust(margins_of, RETRIEVAL, *VALIDATION, ("r", R))


def answers(fitted: tuple[float, Trust], rows: NDArray[np.float32], coverage: float = 0.95):
    temperature, trust = fitted
    margins = margins_of(rows)
    near = Neighbours.of(RETRIEVAL, rows, margins)
    found = pooled(margins, near, temperature, trust.correlation_weight)
    return found, judge(trust, rows, near, found, RETRIEVAL.residuals(rows, found.argmax(axis=1)), 3, coverage)


def test_correlations_with_some_classes_are_those_with_all() -> None:
    classes = likeliest(margins_of(TEST[0]))
    whole = RETRIEVAL.correlations(TEST[0])
    some, _ = RETRIEVAL.of_classes(TEST[0], classes)
    np.testing.assert_allclose(some, np.take_along_axis(whole, classes, axis=1), atol=1e-6)


def test_a_planted_temperature_is_found_where_correlations_say_nothing() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 12)).astype(np.float32) * 2
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(12, p=row / row.sum()) for row in p.astype(float)])
    classes = likeliest(logits)
    half = np.full(classes.shape, 0.5, dtype=np.float32)
    near = Neighbours(classes, half, half)
    temperature, _ = fit_pool(3 * logits, near, labels)
    assert temperature == pytest.approx(3.0, rel=0.07)


def test_probabilities_are_calibrated_on_rows_that_nothing_was_fitted_to(fitted: tuple[float, Trust]) -> None:
    found, _ = answers(fitted, TEST[0])
    ece = expected_calibration_error(found.max(axis=1).astype(float), found.argmax(axis=1) == TEST[1])
    assert ece < 0.06
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_sets_hold_the_right_class_as_often_as_asked(fitted: tuple[float, Trust], coverage: float) -> None:
    found, _ = answers(fitted, TEST[0], coverage)
    inside = found >= fitted[1].threshold(coverage)
    # Three standard deviations of 240 calibration rows and 720 test rows together.
    assert (
        inside[np.arange(len(found)), TEST[1]].mean()
        > coverage - 3 * (coverage * (1 - coverage) * (1 / 240 + 1 / 720)) ** 0.5
    )


def test_what_is_not_in_the_catalogue_is_hardly_ever_confident(fitted: tuple[float, Trust]) -> None:
    unknown, _ = patterns(10, range(1000, 1080), 5)
    _, other = answers(fitted, unknown)
    _, known = answers(fitted, TEST[0])
    confident, outside = VERDICTS.index("confident"), VERDICTS.index("outside")
    assert (other.verdict == confident).mean() < 0.05
    assert (known.verdict == confident).mean() > 0.5
    assert (known.classes[:, 0] == TEST[1])[known.verdict == confident].mean() > 0.95
    assert (other.verdict == outside).mean() > (known.verdict == outside).mean() + 0.3


def test_noise_and_amorphous_curves_are_never_confident(fitted: tuple[float, Trust]) -> None:
    rng = np.random.default_rng(7)
    made = standardise(no_patterns(TEST[0], R, "r", rng))
    _, found = answers(fitted, made)
    assert (found.verdict == VERDICTS.index("confident")).mean() < 0.01
    _, white = answers(fitted, standardise(rng.normal(size=(500, POINTS))))
    assert (white.verdict == VERDICTS.index("amorphous")).mean() > 0.95


def test_noise_of_a_measurement_changes_few_verdicts(fitted: tuple[float, Trust]) -> None:
    _, found = answers(fitted, standardise(with_noise(TEST[0], np.random.default_rng(3))))
    assert (found.verdict == VERDICTS.index("amorphous")).mean() < 0.1


def test_trust_comes_back_from_text_and_other_text_is_refused(fitted: tuple[float, Trust]) -> None:
    assert Trust.from_json(fitted[1].to_json()) == fitted[1]
    for text in ("", "{}", "[1]", '{"known": 3}'):
        with pytest.raises(BundleError, match="run `hpc-mlsm train RUN`"):
            Trust.from_json(text)


def test_halos_are_made_for_powder_patterns() -> None:
    made = no_patterns(np.abs(TEST[0]), np.linspace(0, 90, POINTS), "two_theta", np.random.default_rng(0))
    assert made.shape == TEST[0].shape
    assert np.isfinite(made).all()


def test_what_a_class_leaves_of_a_pattern_is_what_least_squares_leave() -> None:
    rows, labels = TEST[0][:40], TEST[1][:40]
    residuals = RETRIEVAL.residuals(rows, labels)
    classes = np.stack([labels, (labels + 5) % CLASSES], axis=1)
    _, unexplained = RETRIEVAL.of_classes(rows, classes)
    for row, pair in enumerate(classes):
        for place, label in enumerate(pair):
            own = RETRIEVAL.references[RETRIEVAL.labels == label].astype(float)
            # Ridge regression as least squares with rows added for the penalty on the coefficients.
            design = np.concatenate([own.T, np.sqrt(RIDGE) * np.eye(len(own))])
            target = np.concatenate([rows[row], np.zeros(len(own))])
            left = rows[row] - own.T @ np.linalg.lstsq(design, target, rcond=None)[0]
            assert unexplained[row, place] == pytest.approx(left @ left, abs=2e-4)
            if place == 0:
                np.testing.assert_allclose(residuals[row], left, atol=2e-4)


def test_of_many_references_of_a_class_some_span_it_and_a_class_without_any_explains_nothing() -> None:
    rng = np.random.default_rng(0)
    many = Retrieval.of(rng.normal(size=(SPANNING + 60, POINTS)), np.zeros(SPANNING + 60, dtype=np.int64), 2)
    query = standardise(rng.normal(size=(3, POINTS)))
    correlations, unexplained = many.of_classes(query, np.array([[0, 1]] * 3))
    assert (unexplained[:, 1] == 1.0).all()
    assert (correlations[:, 1] == -1.0).all()
    assert (unexplained[:, 0] < 0.6).all()
    np.testing.assert_array_equal(many.residuals(query, np.ones(3, dtype=np.int64)), query)


def test_a_pickled_retrieval_leaves_behind_what_it_can_compute_again() -> None:
    RETRIEVAL.residuals(TEST[0][:2], TEST[1][:2])
    again = pickle.loads(pickle.dumps(RETRIEVAL))
    assert len(pickle.dumps(RETRIEVAL)) < 1.01 * RETRIEVAL.references.nbytes + 10_000
    np.testing.assert_array_equal(again.residuals(TEST[0], TEST[1]), RETRIEVAL.residuals(TEST[0], TEST[1]))


def test_few_validation_rows_are_told(fitted: tuple[float, Trust]) -> None:
    assert "480 validation patterns of 48 classes, 10 a class, which is little" in fitted[1].weakness
    enough = replace(fitted[1], figures={"rows": 4000, "classes": 400})
    assert enough.weakness == ""


def test_twins_of_a_class_that_was_taken_away_raise_what_is_asked() -> None:
    rng = np.random.default_rng(0)
    classes = np.repeat(np.arange(100), 10)
    alike = rng.normal(size=1000)
    twins = np.where(classes < 5, rng.normal(4.0, 0.1, 1000), alike)
    for scores in (alike, twins):
        threshold = _passed_by_few(scores, classes)
        assert (scores >= threshold).mean() <= OUTSIDE_ACCEPTED
    # Rows of few classes pass together: that 5 % passed by chance is told from that 5 of 100 classes pass.
    assert (twins >= _passed_by_few(twins, classes)).mean() < (alike >= _passed_by_few(alike, classes)).mean()
