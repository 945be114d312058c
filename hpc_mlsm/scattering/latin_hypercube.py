"""Latin hypercubes: along every axis, one point in each of n equal intervals (McKay, Beckman & Conover 1979).

Points are those of ``scipy.stats.qmc.LatinHypercube`` with the same generator, to the last bit; to import that takes
half a second, which is as long as a worker needs for its first ten thousand patterns.
"""

import numpy as np
from numpy.typing import NDArray


def latin_hypercube(generator: np.random.Generator, n: int, dimensions: int) -> NDArray[np.float64]:
    """Points (n, dimensions) in [0, 1)."""
    own = generator.spawn(1)[0]
    within = own.uniform(size=(n, dimensions))
    intervals = np.tile(np.arange(1, n + 1), (dimensions, 1))
    for axis in intervals:
        own.shuffle(axis)
    return np.asarray((intervals.T - within) / n)
