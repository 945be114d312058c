"""Latin hypercubes against scipy's."""

import numpy as np
import pytest
from scipy.stats import qmc

from hpc_mlsm.scattering.latin_hypercube import latin_hypercube


@pytest.mark.parametrize(("n", "dimensions"), [(1, 1), (100, 4), (7, 9)])
def test_points_are_those_of_scipy_and_one_lies_in_each_interval(n: int, dimensions: int) -> None:
    points = latin_hypercube(np.random.default_rng(5), n, dimensions)
    np.testing.assert_array_equal(points, qmc.LatinHypercube(d=dimensions, rng=np.random.default_rng(5)).random(n))
    np.testing.assert_array_equal(np.sort(np.floor(points * n), axis=0), np.arange(n)[:, None].repeat(dimensions, 1))
