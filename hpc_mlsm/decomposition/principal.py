"""Principal components of a series, and how many of them are more than noise."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.decomposition.series import SeriesSums
from hpc_mlsm.decomposition.settings import DecomposeSettings

PERMUTATIONS = 20
MEAN_SHARE = 0.01
"""Of the mean's squares, that lie outside the components, for the mean to count as one more."""

DEVIATIONS = 3.0
"""A component counts if it is so many standard deviations above what random series give."""


@dataclass(frozen=True, eq=False)
class Principal:
    """Principal components of a series about its mean.

    Attributes
    ----------
    mean : float64 (points,)
    axes : float64 (m, points)
        Unit vectors, the one that explains most first; the largest entry of each is positive.
    variances : float64 (points,)
        Of all components, so that their sum is the total variance (n - 1 in the denominator).
    """

    mean: NDArray[np.float64]
    axes: NDArray[np.float64]
    variances: NDArray[np.float64]

    @property
    def explained(self) -> NDArray[np.float64]:
        """Share of the variance that each component explains; zeros where nothing varies."""
        total = self.variances.sum()
        return self.variances / total if total > 0 else np.zeros_like(self.variances)

    def scores(self, patterns: NDArray[np.floating]) -> NDArray[np.float64]:
        """Coordinates (n, m) of patterns along the axes."""
        return np.asarray((patterns - self.mean) @ self.axes.T)


@dataclass(frozen=True)
class Proposal:
    """How many components were proposed by a rule, and what each rule would have proposed.

    ``closed`` says whether the weights of the frames sum to the same: whether the mean counts as one of the components.
    """

    components: int
    rule: str
    parallel: int
    malinowski: int
    closed: bool


def principal_components(sums: SeriesSums, most: int) -> Principal:
    """The first ``most`` principal components, from the sums of one reading of the series; exact for any length."""
    values, vectors = np.linalg.eigh(sums.scatter / max(sums.n - 1, 1))
    values, axes = np.clip(values[::-1], 0.0, None), vectors.T[::-1]
    axes = axes[: min(most, len(axes))]
    largest = np.abs(axes).argmax(axis=1)
    signs = np.sign(axes[np.arange(len(axes)), largest])
    return Principal(sums.mean, axes * signs[:, None], values)


def propose(patterns: NDArray[np.float64], settings: DecomposeSettings) -> Proposal:
    """How many non-negative components a series has.

    A series of k phases whose weights sum to one varies in k - 1 directions about its mean; where their sum varies,
    too, in k directions, and the mean lies among them. So the number is that of the principal components which count,
    and one more where the mean has a part outside of them that counts.

    ``parallel`` (parallel analysis of Horn 1965 with the permutations of Buja and Eyuboglu 1992, one component at a
    time as Dobriban and Owen 2019): a component counts if what it explains lies three standard deviations above the
    mean of the largest components of random series. These are made of what the components before it leave, by
    permuting each point over the frames. ``malinowski``: the number that minimises the indicator function of
    Malinowski (Anal. Chem. 49 (1977) 612) of the series itself, not of its deviations. Neither counts a component that
    explains less than ``min_share`` of the variance.

    Parameters
    ----------
    patterns : float64 (m, points)
        The series, or the means of its runs.
    settings : DecomposeSettings
    """
    most, share = settings.max_components, settings.min_share
    mean = patterns.mean(axis=0)
    left, values, axes = np.linalg.svd(patterns - mean, full_matrices=False)
    varying = _parallel(left, values, axes, most, share, settings.seed)
    outside = mean - (mean @ axes[:varying].T) @ axes[:varying]
    closed = bool(outside @ outside > MEAN_SHARE * (mean @ mean))
    parallel = min(most, max(1, varying + closed))
    malinowski = min(most, _malinowski(patterns, values, share))
    chosen = parallel if settings.rule == "parallel" else malinowski
    return Proposal(chosen, settings.rule, parallel, malinowski, closed or varying == 0)


def _parallel(
    left: NDArray[np.float64],
    values: NDArray[np.float64],
    axes: NDArray[np.float64],
    most: int,
    share: float,
    seed: int,
) -> int:
    """How many components of centred patterns, given as their singular value decomposition, count."""
    generator = np.random.default_rng(seed)
    squares = np.square(values)
    most = min(most, len(values) - 1)
    for found in range(most):
        if squares[found] < max(share, 1e-12) * squares.sum() or squares[found] <= np.finfo(float).tiny:
            return found
        # What is left has lost a dimension with each component; frames are mixed at random into as many as there are.
        mixing = np.linalg.qr(generator.normal(size=(len(values) - found, len(values) - found)))[0]
        residual = (mixing * values[found:]) @ axes[found:]
        random = [_largest(generator.permuted(residual, axis=0)) for _ in range(PERMUTATIONS)]
        if squares[found] <= np.mean(random) + DEVIATIONS * np.std(random):
            return found
    return most


def _largest(matrix: NDArray[np.float64]) -> float:
    """The largest squared singular value."""
    from scipy.linalg import eigh

    gram = matrix @ matrix.T if matrix.shape[0] < matrix.shape[1] else matrix.T @ matrix
    last = len(gram) - 1
    return float(eigh(gram, eigvals_only=True, subset_by_index=[last, last])[0])


def _malinowski(patterns: NDArray[np.float64], varying: NDArray[np.float64], share: float) -> int:
    """The minimum of IND(k) = RE(k) / (c - k)², RE² being the mean of what k components leave, c the shorter side."""
    r, c = max(patterns.shape), min(patterns.shape)
    if c < 3:
        return 1
    squares = np.square(np.linalg.svd(patterns, compute_uv=False))
    left = np.clip(squares[::-1].cumsum()[::-1], 0.0, None)[1:]
    k = np.arange(1, c)
    indicator = np.sqrt(left / (r * (c - k))) / np.square(c - k)
    best = int(indicator[: max(1, c // 2)].argmin()) + 1
    counting = np.count_nonzero(np.square(varying) > max(share, 1e-12) * np.square(varying).sum())
    return min(best, 1 + int(counting))
