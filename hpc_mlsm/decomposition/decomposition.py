"""A series taken apart: from one reading of it the components, from another the weights of every frame."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.decomposition.nonnegative import Components, find_components, of_one_scale
from hpc_mlsm.decomposition.pearson import pearson_matrix
from hpc_mlsm.decomposition.principal import Principal, Proposal, principal_components, propose
from hpc_mlsm.decomposition.series import BLOCK_BYTES, Runs, blocks, run_bounds, sum_series
from hpc_mlsm.decomposition.settings import DecomposeSettings
from hpc_mlsm.decomposition.stretched import Stretched, stretch_components, stretched_weights
from hpc_mlsm.decomposition.weights import non_negative_weights
from hpc_mlsm.errors import PatternError
from hpc_mlsm.grouping.blocks import Rows

AS_LITTLE, INTERPOLATED = 1.1, 0.015
"""Fewer components that stretch are enough if they leave up to so many times what the proposed number leaves, or no
more than the interpolation between points does."""


@dataclass(frozen=True, eq=False)
class Decomposition:
    """A series taken apart.

    Attributes
    ----------
    correlation : float32 (m, m)
        Pearson matrix of the series, or of the means of runs of neighbouring frames.
    bounds : int64 (m + 1,)
        Frames of these runs; each is one frame where the series is short enough.
    neighbours : float32 (n,)
        Pearson correlation of each frame with the one before; 1 of the first.
    principal : Principal
    proposal : Proposal
    components : Components
    weights : float64 (n, k)
        Of the components in each frame.
    scores : float64 (n, m)
        Of each frame along the principal axes.
    left : float64 (n,)
        Root of the share of each frame's squares that its components do not describe.
    stretch : float64 (n, k), optional
        By what factors each frame's components are stretched; None where they have one shape throughout.
    """

    correlation: NDArray[np.float32]
    bounds: NDArray[np.int64]
    neighbours: NDArray[np.float32]
    principal: Principal
    proposal: Proposal
    components: Components
    weights: NDArray[np.float64]
    scores: NDArray[np.float64]
    left: NDArray[np.float64]
    stretch: NDArray[np.float64] | None = None

    @property
    def n(self) -> int:
        """Frames."""
        return len(self.weights)


def decompose(
    rows: Rows,
    n: int,
    points: int,
    settings: DecomposeSettings,
    known: NDArray[np.float64] | None = None,
    block_bytes: int = BLOCK_BYTES,
    r: NDArray[np.float64] | None = None,
) -> Decomposition:
    """Take a series of any length apart, reading it twice.

    Memory: one block of frames in float64, two matrices of points squared, the means of at most ``fit_frames`` and
    ``matrix_frames`` runs, the Pearson matrix, and some ten numbers a frame.

    Parameters
    ----------
    rows : callable
        ``rows(start, stop)`` returns float32 patterns (stop - start, points).
    n, points : int
        Frames, and points of each.
    settings : DecomposeSettings
    known : float64 (f, points), optional
        Curves of phases that are known to be there; held fixed.
    block_bytes : int
        Of one block of frames.
    r : float64 (points,), optional
        Å, evenly spaced; what components stretch along.

    Raises
    ------
    PatternError
        If there is no frame, a value is not finite, or more components are asked for than there can be.
    """
    runs = max(settings.fit_frames, settings.matrix_frames)
    sums = sum_series(rows, n, points, runs, block_bytes)
    matrix = _coarser(sums.runs, settings.matrix_frames)
    fitted = _coarser(sums.runs, settings.fit_frames)
    principal = principal_components(sums, settings.max_components)
    proposal = propose(fitted.means, settings)
    scaled = fitted.means if proposal.closed else of_one_scale(fitted.means)
    if scaled is not fitted.means:
        proposal = replace(propose(scaled, settings), closed=False)
        known = None if known is None else of_one_scale(known, fitted.means.mean(axis=0))
    components = _components(scaled, proposal.components, settings, known)
    factors = None
    if settings.method == "stretched-nmf":
        components, factors = _stretched(replace(fitted, means=scaled), components, settings, r)
    weights, scores, left = _of_every_frame(rows, n, points, principal, components, block_bytes, factors, r)
    return Decomposition(
        correlation=pearson_matrix(matrix.means),
        bounds=matrix.bounds,
        neighbours=sums.neighbours,
        principal=principal,
        proposal=proposal,
        components=components,
        weights=weights,
        scores=scores,
        left=left,
        stretch=factors,
    )


def _components(
    patterns: NDArray[np.float64], proposed: int, settings: DecomposeSettings, known: NDArray[np.float64] | None
) -> Components:
    """As many components as are wanted; of those only proposed, fewer where they turn out to depend on each other."""
    least = 1 if known is None else max(1, len(known))
    count = max(least, min(settings.components or proposed, *patterns.shape))
    while True:
        try:
            return find_components(patterns, count, settings, known)
        except PatternError as error:
            if error.reason != "dependent_components" or settings.components or count == least:
                raise
            count -= 1


def _stretched(
    runs: Runs, unstretched: Components, settings: DecomposeSettings, r: NDArray[np.float64] | None
) -> tuple[Components, NDArray[np.float64]]:
    """Components that stretch, and their factors in every frame (n, k).

    Where their number is not set, the smallest that leaves about as little as the proposed one does without stretching.
    If none does, what leaves least is kept, which may be the components as they were, stretched by 1.
    """
    if r is None:
        raise PatternError("no_abscissa", "components can only stretch along an abscissa, and none was given")
    few = _coarser(runs, settings.stretch_frames)
    most, enough = len(unstretched.curves), max(AS_LITTLE * unstretched.left, INTERPOLATED)
    found = Stretched(unstretched, np.ones((len(few.means), most)))
    for count in [most] if settings.components else range(1, most + 1):
        first = unstretched if count == most else find_components(few.means, count, settings)
        stretched = stretch_components(few.means, r, first, settings.stretch_iterations)
        if stretched.components.left <= enough:
            found = stretched
            break
        found = min(found, stretched, key=lambda one: one.components.left)
    middles = 0.5 * (few.bounds[:-1] + few.bounds[1:] - 1)
    frames = np.arange(runs.bounds[-1])
    return found.components, np.stack([np.interp(frames, middles, one) for one in found.factors.T], axis=1)


def _coarser(runs: Runs, most: int) -> Runs:
    """At most so many runs, each of whole ones of those given."""
    m = len(runs.means)
    if m <= most:
        return runs
    picked = run_bounds(m, most)
    lengths = np.diff(runs.bounds)
    sums = np.add.reduceat(runs.means * lengths[:, None], picked[:-1], axis=0)
    bounds = runs.bounds[picked]
    return replace(runs, bounds=bounds, means=sums / np.diff(bounds)[:, None])


def _of_every_frame(
    rows: Rows,
    n: int,
    points: int,
    principal: Principal,
    components: Components,
    block_bytes: int,
    factors: NDArray[np.float64] | None,
    r: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Weights, scores and what is left of every frame."""
    weights = np.empty((n, len(components.curves)))
    scores = np.empty((n, len(principal.axes)))
    left = np.empty(n)
    for start, block in blocks(rows, n, points, block_bytes):
        part = slice(start, start + len(block))
        if factors is None or r is None:
            weights[part] = non_negative_weights(block, components.curves)
            rest = block - weights[part] @ components.curves
        else:
            weights[part], rest = stretched_weights(block, r, components.curves, factors[part])
        scores[part] = principal.scores(block)
        size = np.linalg.norm(block, axis=1)
        left[part] = np.linalg.norm(rest, axis=1) / np.where(size > 0, size, 1.0)
    return weights, scores, left
