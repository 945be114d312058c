"""Bounds from leading directions: nowhere below the correlation, and used only where they are of use."""

import numpy as np
import pytest
from all_pairs import noisy

from hpc_mlsm.grouping.correlate import float32_margin, panel_of
from hpc_mlsm.grouping.leading import bounding_vectors, choose_directions


@pytest.mark.parametrize("points", [20, 301, 1500])
@pytest.mark.parametrize("k", [1, 8, 19])
def test_no_correlation_is_above_its_bound(points: int, k: int):
    rng = np.random.default_rng(points + k)
    patterns = noisy(k, 200, points)
    patterns[3] = 1.5  # constant
    patterns[4] = patterns[5]
    patterns[6] = 1000 + 1e-3 * patterns[7]
    panel = panel_of(patterns)
    basis = np.linalg.qr(rng.normal(size=(points, k)))[0]  # any directions will do
    bound = bounding_vectors(panel, basis)
    product = bound @ bound.T + float32_margin(k + 1)
    varying = np.flatnonzero(panel.scale)
    correlation = np.corrcoef(patterns[varying].astype(np.float64))
    assert (product[np.ix_(varying, varying)] >= correlation - 1e-12).all()


def test_patterns_within_the_directions_have_bounds_that_are_their_correlations():
    rng = np.random.default_rng(0)
    patterns = (rng.normal(size=(50, 4)) @ rng.normal(size=(4, 100))).astype(np.float32)
    patterns -= patterns.mean(axis=1, keepdims=True)
    panel = panel_of(patterns)
    basis = np.linalg.qr(np.linalg.svd(patterns.astype(np.float64), full_matrices=False)[2][:4].T)[0]
    bound = bounding_vectors(panel, basis)
    np.testing.assert_allclose(bound @ bound.T, np.corrcoef(patterns.astype(np.float64)), atol=1e-5)


def test_directions_are_orthonormal_also_where_there_are_fewer_patterns_than_points():
    rng = np.random.default_rng(4)
    for n, points in ((400, 120), (60, 500)):
        patterns = rng.normal(size=(n, 12)) @ rng.normal(size=(12, points))
        chosen = choose_directions(panel_of(patterns.astype(np.float32)), 0.99)
        assert chosen is not None
        k = chosen.basis.shape[1]
        np.testing.assert_allclose(chosen.basis.T @ chosen.basis, np.eye(k), atol=1e-12)
        assert chosen.candidates <= 0.01


def test_no_directions_are_chosen_where_most_bounds_reach_the_threshold():
    assert choose_directions(panel_of(noisy(1, 300, 120)), 0.2) is None
    alike = np.tile(noisy(1, 1, 120), (300, 1)) + 0.01 * noisy(2, 300, 120)
    assert choose_directions(panel_of(alike.astype(np.float32)), 0.95) is None
