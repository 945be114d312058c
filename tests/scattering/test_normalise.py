"""Standardised patterns have zero mean and unit norm, so that their dot product is Pearson's correlation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hpc_mlsm.scattering.normalise import standardise

SCALES, OFFSETS = [1e-6, 1, 1e6, 3, 3, 3], [0, 5, -2, 0, 1, 9]
PATTERNS = np.random.default_rng(0).normal(size=(40, 6)) * SCALES + OFFSETS
PATTERNS = PATTERNS.T


def test_dot_products_are_the_correlations_of_numpy() -> None:
    found = standardise(PATTERNS)
    # The sum of 40 products in float32.
    assert np.allclose(found @ found.T, np.corrcoef(PATTERNS), atol=1e-6)


def test_mean_and_norm() -> None:
    found = standardise(PATTERNS).astype(float)
    assert np.allclose(found.mean(axis=-1), 0.0, atol=1e-8)
    assert np.allclose(np.linalg.norm(found, axis=-1), 1.0, atol=1e-6)
    assert standardise(PATTERNS).dtype == np.float32


def test_scale_and_offset_do_not_matter() -> None:
    assert np.allclose(standardise(4e5 * PATTERNS - 17), standardise(PATTERNS), atol=1e-6)
    assert np.allclose(standardise(-PATTERNS), -standardise(PATTERNS), atol=1e-7)


def test_a_large_offset_does_not_drown_the_pattern() -> None:
    # In float32 a signal of 1 on an offset of 10⁶ would keep two figures.
    found = standardise(PATTERNS[1:2] + 1e6)
    assert np.allclose(found, standardise(PATTERNS[1:2]), atol=1e-6)


@pytest.mark.parametrize("level", [0.0, 1.0, 1e-300, 1e30, -7.3e4])
def test_a_constant_pattern_becomes_zeros_without_warning(level: float) -> None:
    assert not standardise(np.full((2, 30), level)).any()


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (0, 5)])
def test_any_number_of_axes_is_taken(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(1).normal(size=shape)
    found = standardise(values)
    assert found.shape == shape
    for one, whole in zip(values.reshape(-1, 5), found.reshape(-1, 5), strict=True):
        assert np.array_equal(standardise(one), whole)


def test_lists_and_other_types_are_taken() -> None:
    assert np.allclose(standardise([1, 2, 3]), np.array([-1, 0, 1]) / np.sqrt(2))
    assert np.allclose(standardise(np.array([1, 2, 3], dtype=np.float32)), np.array([-1, 0, 1]) / np.sqrt(2))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="must be finite; found NaN or infinity"):
        standardise(np.array([[1.0, bad, 2.0]]))


NUMBERS = st.floats(-1e100, 1e100).map(lambda number: number if abs(number) > 1e-100 else 0.0)


@given(arrays(np.float64, (3, 7), elements=NUMBERS))
def test_anything_finite_gives_unit_vectors_or_zeros(values: np.ndarray) -> None:
    norms = np.linalg.norm(standardise(values).astype(float), axis=-1)
    assert (np.isclose(norms, 1.0, atol=1e-5) | (norms == 0)).all()
