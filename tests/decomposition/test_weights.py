"""Non-negative least squares of all patterns at once are those of scipy, one by one."""

import numpy as np
import pytest
from scipy.optimize import nnls

from hpc_mlsm.decomposition.weights import non_negative_weights
from hpc_mlsm.errors import PatternError


@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_weights_are_those_of_scipy(k: int) -> None:
    generator = np.random.default_rng(k)
    components = generator.normal(size=(k, 40)) + 0.5
    patterns = generator.normal(size=(300, k)) @ components + generator.normal(size=(300, 40))
    found = non_negative_weights(patterns, components)
    expected = np.array([nnls(components.T, pattern)[0] for pattern in patterns])
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert (found == 0).any()


def test_components_of_any_scale_are_told_apart() -> None:
    generator = np.random.default_rng(0)
    components = generator.normal(size=(3, 40)) * [[1e-6], [1], [1e6]]
    weights = np.abs(generator.normal(size=(50, 3))) / [1e-6, 1, 1e6]
    np.testing.assert_allclose(non_negative_weights(weights @ components, components), weights, rtol=1e-6)


def test_components_that_depend_on_each_other_are_refused() -> None:
    curve = np.sin(np.arange(40.0))
    with pytest.raises(PatternError, match="ask for fewer"):
        non_negative_weights(curve[None], np.array([curve, 2 * curve]))
