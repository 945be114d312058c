"""Series of known composition come apart into what they were mixed of."""

import numpy as np
import pytest
from numpy.typing import NDArray

from hpc_mlsm.decomposition.decomposition import decompose
from hpc_mlsm.decomposition.settings import DecomposeSettings
from hpc_mlsm.errors import ConfigError, PatternError
from tests.decomposition.mixtures import Mixture, matched, mixture

SETTINGS = DecomposeSettings(starts=3)


@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize(("n", "noise"), [(17, 0.02), (120, 0.05)])
def test_components_and_weights_are_those_that_a_series_was_mixed_of(k: int, n: int, noise: float) -> None:
    truth = mixture(k, n, noise)
    found = decompose(truth.rows, *truth.shape, SETTINGS)
    assert found.proposal.components == k
    likeness, errors = matched(found, truth)
    assert likeness.min() >= (0.97 if n == 17 else 0.98)
    assert np.sqrt(np.square(errors).mean()) < 0.03


def test_a_series_that_does_not_change_has_one_component() -> None:
    truth = mixture(1, 60, 0.05)
    found = decompose(truth.rows, *truth.shape, SETTINGS)
    assert found.proposal.components == 1
    assert np.abs(found.weights - 1).max() < 0.05
    assert found.left == pytest.approx(0.05, rel=0.2)


def test_frames_of_any_scale_come_apart_too() -> None:
    truth = mixture(3, 200, 0.02)
    scales = np.random.default_rng(2).uniform(0.5, 2, size=(200, 1))
    found = decompose(lambda a, b: (truth.patterns * scales)[a:b].astype(np.float32), *truth.shape, SETTINGS)
    assert found.proposal.components == 3
    assert not found.proposal.closed
    likeness, _ = matched(found, truth)
    assert likeness.min() >= 0.98


def test_known_phases_are_held_fixed_and_the_rest_is_found() -> None:
    truth = mixture(3, 120, 0.02)
    found = decompose(truth.rows, *truth.shape, DecomposeSettings(starts=2, components=3), truth.curves[1:2])
    np.testing.assert_array_equal(found.components.curves[0], truth.curves[1])
    assert found.components.fixed == 1
    likeness, errors = matched(found, truth)
    assert likeness.min() >= 0.98
    assert np.sqrt(np.square(errors).mean()) < 0.03


def test_a_long_series_is_fitted_on_means_and_weighed_frame_by_frame() -> None:
    truth = mixture(3, 5000, 0.1)
    settings = DecomposeSettings(starts=2, fit_frames=200, matrix_frames=100)
    found = decompose(truth.rows, *truth.shape, settings, block_bytes=100_000)
    assert found.correlation.shape == (100, 100)
    assert found.bounds[0] == 0
    assert found.bounds[-1] == 5000
    assert found.weights.shape == (5000, 3)
    likeness, errors = matched(found, truth)
    assert likeness.min() >= 0.98
    # Single frames carry the noise: 0.1 / sqrt(points) of a curve's size at the least, some three times that here.
    assert np.sqrt(np.square(errors).mean()) < 0.04
    smoothed = errors.reshape(200, 25, 3).mean(axis=1)
    assert np.abs(smoothed).max() < 0.03


def test_the_same_series_in_blocks_of_any_size_gives_the_same() -> None:
    truth = mixture(2, 300, 0.05)
    settings = DecomposeSettings(starts=2, fit_frames=70, matrix_frames=50)
    one, other = (decompose(truth.rows, *truth.shape, settings, block_bytes=size) for size in (2**25, 7 * 4 * 190))
    np.testing.assert_allclose(one.components.curves, other.components.curves, atol=1e-7)
    np.testing.assert_allclose(one.weights, other.weights, atol=1e-6)
    np.testing.assert_allclose(one.correlation, other.correlation, atol=1e-6)
    again = decompose(truth.rows, *truth.shape, settings)
    np.testing.assert_array_equal(one.weights, again.weights)


def test_correlation_and_principal_components_are_those_of_numpy() -> None:
    truth = mixture(3, 50, 0.05)
    found = decompose(truth.rows, *truth.shape, SETTINGS, block_bytes=9000)
    patterns = truth.patterns.astype(float)
    np.testing.assert_allclose(found.correlation, np.corrcoef(patterns), atol=2e-6)
    np.testing.assert_allclose(found.neighbours[1:], np.diag(np.corrcoef(patterns), 1), atol=2e-6)
    centred = patterns - patterns.mean(axis=0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(found.principal.variances[:5], (values**2 / 49)[:5], rtol=1e-6)
    np.testing.assert_allclose(found.principal.explained.sum(), 1)
    np.testing.assert_allclose(np.abs(found.scores[:, :2]), np.abs(centred @ axes[:2].T), atol=1e-5)


@pytest.mark.parametrize("rule", ["parallel", "malinowski"])
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_both_rules_find_how_many_phases_there_are(rule: str, k: int) -> None:
    truth = mixture(k, 60, 0.05, seed=k)
    settings = DecomposeSettings(starts=1, rule="parallel" if rule == "parallel" else "malinowski")
    assert decompose(truth.rows, *truth.shape, settings).proposal.components == k


def test_the_user_may_set_the_number_of_components() -> None:
    truth = mixture(2, 40, 0.02)
    found = decompose(truth.rows, *truth.shape, DecomposeSettings(components=3, starts=2))
    assert found.weights.shape == (40, 3)
    assert found.proposal.components == 2


def test_a_frame_that_is_not_finite_is_named() -> None:
    truth = mixture(2, 20, 0.02)
    patterns = truth.patterns.copy()
    patterns[13, 4] = np.nan
    with pytest.raises(PatternError, match="row 13 has 1 of"):
        decompose(Mixture(patterns, truth.curves, truth.weights).rows, *truth.shape, SETTINGS)


def test_a_series_without_frames_and_more_known_phases_than_points_are_refused() -> None:
    empty: NDArray[np.float32] = np.zeros((0, 30), np.float32)
    with pytest.raises(PatternError, match="no frame"):
        decompose(lambda a, b: empty, 0, 30, SETTINGS)
    few = mixture(2, 3, 0.0)
    with pytest.raises(PatternError, match="ask for fewer"):
        decompose(few.rows, *few.shape, DecomposeSettings(), np.ones((5, few.shape[1])))
    with pytest.raises(ConfigError, match="raise fit_frames"):
        DecomposeSettings(components=12, fit_frames=11)


def test_one_frame_and_one_dead_frame_are_a_series() -> None:
    truth = mixture(1, 1, 0.0)
    found = decompose(truth.rows, *truth.shape, SETTINGS)
    assert found.weights[0, 0] == pytest.approx(1, abs=1e-6)
    dead = np.vstack([mixture(2, 20, 0.02).patterns, np.zeros((1, truth.shape[1]), np.float32)])
    found = decompose(lambda a, b: dead[a:b], *dead.shape, SETTINGS)
    assert found.correlation[-1, -1] == 0
    np.testing.assert_allclose(found.weights[-1], 0, atol=1e-6)
