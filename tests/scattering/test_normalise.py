import numpy as np
import pytest

from hpc_mlsm.scattering.normalise import standardise


def test_dot_products_of_standardised_patterns_are_pearson_correlations() -> None:
    patterns = np.random.default_rng(0).normal(3.0, 2.0, (5, 40))
    found = standardise(patterns)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found @ found.T, np.corrcoef(patterns), atol=1e-6)


def test_a_constant_pattern_correlates_with_nothing() -> None:
    assert not standardise([[5.0, 5.0, 5.0], [0.0, 0.0, 0.0]]).any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_pattern_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        standardise([1.0, value, 2.0])
