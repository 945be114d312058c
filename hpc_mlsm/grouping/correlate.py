"""Pearson correlation of all pairs between two blocks of patterns, of which only the high ones are kept."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import PatternError, PlanError
from hpc_mlsm.grouping.edges import Edges, merge_edges
from hpc_mlsm.grouping.products import CpuProducts, Products

CHUNK_ELEMENTS = 2**18
"""Elements of one float64 intermediate, so that double precision costs a few MiB whatever the block size."""

CHUNK_PAIRS = 2**16
"""Pairs that are looked at together, so that a block in which everything correlates needs no more memory."""

ROUNDING = 1e-12
"""A float64 correlation this close below the threshold counts as reaching it: its own rounding is of that order."""


Find = Callable[[slice, slice], NDArray[np.int64]]
"""Finds, in a tile of rows × columns, the pairs to look at, as positions in the flattened tile."""

CANDIDATE_SHARE = 0.01
"""Of the pairs of a tile. With more candidates than that, the whole product costs less than looking at each of them."""


@dataclass(frozen=True, eq=False)
class Panel:
    """Patterns that are correlated with others together.

    Attributes
    ----------
    patterns : array (n, points)
        As stored.
    unit : array (n, points) of float32
        Their unit vectors, for the matrix product.
    mean, scale : arrays (n,) of float64
        What takes the former to the latter; the scale of a constant is 0.
    bound : array (n, k) of float32, optional
        Short vectors whose products are nowhere smaller than the correlations, see ``leading.bounding_vectors``.
    """

    patterns: NDArray[np.floating]
    unit: NDArray[np.float32]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    bound: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.patterns)


@dataclass
class Tally:
    """How many pairs were compared, and of how many the short vectors alone proved that they are no edge."""

    pairs: int = 0
    proven: int = 0


def standardise(patterns: NDArray[np.floating], first: int = 0) -> NDArray[np.float32]:
    """Shift and scale every pattern to zero mean and unit norm, so that a matrix product gives Pearson correlations.

    Parameters
    ----------
    patterns : array (n, points)
        One pattern a row. Means and norms are taken in float64.
    first : int
        Number of the first row, for error messages.

    Returns
    -------
    array (n, points) of float32
        A constant pattern, whose correlation is undefined, becomes a row of zeros: it correlates with nothing.

    Raises
    ------
    PatternError
        If a pattern holds NaN or infinity.
    """
    return panel_of(patterns, first).unit


def standardise_float64(patterns: NDArray[np.floating]) -> NDArray[np.float64]:
    """As `standardise`, not rounded: for products that must be exact. Takes twice the memory."""
    unit = np.empty(patterns.shape)
    for rows, values, _, _ in _unit_vectors(patterns, 0):
        unit[rows] = values
    return unit


def edges_between(
    a: NDArray[np.floating],
    b: NDArray[np.floating],
    threshold: float,
    first_a: int,
    first_b: int,
    max_edges: int | None = None,
) -> Edges:
    """Find the pairs between two blocks of rows whose Pearson correlation reaches the threshold.

    A float32 matrix product proposes pairs: all that lie above the threshold less the largest error such a product
    can have (Higham 2002, Accuracy and Stability of Numerical Algorithms, eq. 3.5). Their correlations are then
    computed in float64 from the two patterns alone, so the result is that of float64 throughout, and the same to
    the last bit whatever the block size, the order of the rows or the BLAS library.

    Parameters
    ----------
    a, b : arrays (rows, points)
        Patterns as stored, not standardised. The blocks may be disjoint, the same, or overlap; each pair of
        different rows is reported once.
    threshold : float
        Smallest correlation to keep, 0 to 1.
    first_a, first_b : int
        Row numbers of ``a[0]`` and ``b[0]`` in the whole set.
    max_edges : int, optional
        Stop when more pairs than this are found.

    Returns
    -------
    Edges
        Sorted by ``i``, then ``j``.

    Raises
    ------
    PatternError
        If a pattern holds NaN or infinity, or the blocks have different grids.
    PlanError
        If there are more than ``max_edges`` pairs.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise PatternError(
            "grid_mismatch",
            f"blocks of shape {a.shape} and {b.shape} cannot be correlated: both must be (rows, points) with the "
            "same number of points; simulate all patterns on one grid",
        )
    panel_a = panel_of(a, first_a)
    panel_b = panel_a if first_a == first_b and len(a) == len(b) else panel_of(b, first_b)
    return edges_of_panels(panel_a, panel_b, threshold, first_a, first_b, max_edges)


def edges_of_panels(
    a: Panel,
    b: Panel,
    threshold: float,
    first_a: int,
    first_b: int,
    max_edges: int | None = None,
    *,
    products: Products | None = None,
    tally: Tally | None = None,
) -> Edges:
    """As `edges_between`, of panels that are ready; where both have bounding vectors, these go first.

    A tile of pairs whose bounds all stay below the threshold holds no edge, and its product is not computed; of a tile
    with few bounds at the threshold or above, these pairs alone are looked at. The result is the same.
    """
    parts: list[Edges] = []
    found = 0
    tally = tally or Tally()
    for part in _search(a, b, threshold, first_a, first_b, products or CpuProducts(), tally):
        parts.append(part)
        found += len(part)
        if max_edges is not None and found > max_edges:
            raise PlanError(
                f"more than {max_edges} pairs of rows {first_a} to {first_a + len(a)} with rows {first_b} to "
                f"{first_b + len(b)} correlate at {threshold:g} or above, and the memory given to grouping holds no "
                "more: raise memory_mb, or raise the threshold"
            )
    return merge_edges(parts)


def float32_margin(points: int) -> float:
    """Largest error of a float32 product of two unit vectors that were themselves rounded to float32."""
    # points products and sums, two rounded inputs, their float64 norms, and the threshold's own rounding.
    roundings = (points + 8) * 2.0**-24
    return roundings / (1 - roundings)


def panel_of(patterns: NDArray[np.floating], first: int = 0) -> Panel:
    """Patterns made ready; ``first`` is the number of the first row, for error messages.

    Raises
    ------
    PatternError
        If a pattern holds NaN or infinity.
    """
    n, points = patterns.shape
    panel = Panel(patterns, np.empty((n, points), np.float32), np.empty(n), np.empty(n))
    for rows, unit, mean, scale in _unit_vectors(patterns, first):
        panel.unit[rows], panel.mean[rows], panel.scale[rows] = unit, mean, scale
    return panel


def _unit_vectors(
    patterns: NDArray[np.floating], first: int
) -> Iterator[tuple[slice, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]:
    """A few rows at a time: which, their unit vectors, and the mean and scale (0 of a constant) that lead to them."""
    n, points = patterns.shape
    step = max(1, CHUNK_ELEMENTS // max(points, 1))
    for start in range(0, n, step):
        rows = slice(start, start + step)
        values = patterns[rows].astype(np.float64)
        _refuse_not_finite(values, first + start)
        largest = np.abs(values).max(axis=1, initial=0.0)
        mean = values.sum(axis=1) / max(points, 1)
        values -= mean[:, None]
        norm = np.sqrt(np.square(values).sum(axis=1))
        # What is left of a constant after its mean is subtracted is rounding, not signal.
        constant = norm <= 64 * np.finfo(np.float64).eps * largest * np.sqrt(points)
        scale = np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, norm))
        values *= scale[:, None]
        yield rows, values, mean, scale


def _refuse_not_finite(values: NDArray[np.float64], first: int) -> None:
    finite = np.isfinite(values)
    if finite.all():
        return
    row = int(np.flatnonzero(~finite.all(axis=1))[0])
    raise PatternError(
        "not_finite",
        f"pattern row {first + row} has {np.count_nonzero(~finite[row])} of {values.shape[1]} points that are NaN or "
        "infinite; correlation needs finite numbers: simulate that structure again or reject it",
    )


def _search(
    a: Panel, b: Panel, threshold: float, first_a: int, first_b: int, products: Products, tally: Tally
) -> Iterator[Edges]:
    """Go over the blocks tile by tile."""
    end_a, end_b = first_a + len(a), first_b + len(b)
    pruned = a.bound is not None and b.bound is not None
    find = _with_bounds(a, b, threshold, products, tally) if pruned else _without(a, b, threshold, products)
    for top in range(0, len(a), products.tile_rows):
        bottom = min(top + products.tile_rows, len(a))
        for left in range(0, len(b), products.tile_columns):
            right = min(left + products.tile_columns, len(b))
            in_both = first_b <= first_a + top and first_a + bottom <= end_b
            in_both = in_both and first_a <= first_b + left and first_b + right <= end_a
            if in_both and first_a + top >= first_b + right - 1:
                continue  # wholly on or below the diagonal; the mirrored tile is searched
            tally.pairs += (bottom - top) * (right - left)
            local = find(slice(top, bottom), slice(left, right))
            for start in range(0, len(local), CHUNK_PAIRS):
                row, column = np.divmod(local[start : start + CHUNK_PAIRS], right - left)
                yield _confirm(a, b, row + top, column + left, threshold, first_a, first_b)


def _without(a: Panel, b: Panel, threshold: float, products: Products) -> Find:
    """Pairs of a tile whose float32 correlation may reach the threshold."""
    floor = threshold - float32_margin(a.unit.shape[1])
    unit_a = products.load(a.unit)
    unit_b = unit_a if b is a else products.load(b.unit)
    return lambda rows, columns: products.above(unit_a[rows], unit_b[columns], floor)


def _with_bounds(a: Panel, b: Panel, threshold: float, products: Products, tally: Tally) -> Find:
    """The same, where bounding vectors leave any."""
    assert a.bound is not None
    assert b.bound is not None
    floor = threshold - float32_margin(a.bound.shape[1])
    bound_a = products.load(a.bound)
    bound_b = bound_a if b is a else products.load(b.bound)
    whole: list[Find] = []

    def find(rows: slice, columns: slice) -> NDArray[np.int64]:
        size = (rows.stop - rows.start) * (columns.stop - columns.start)
        candidates = products.above(bound_a[rows], bound_b[columns], floor)
        if len(candidates) <= CANDIDATE_SHARE * size:
            tally.proven += size - len(candidates)
            return candidates
        if not whole:
            whole.append(_without(a, b, threshold, products))
        return whole[0](rows, columns)

    return find


def _confirm(
    a: Panel,
    b: Panel,
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    threshold: float,
    first_a: int,
    first_b: int,
) -> Edges:
    """Of the proposed pairs, those to be reported here: counted once, neither constant, and high in float64."""
    i, j = row + first_a, column + first_b
    mirrored = (j >= first_a) & (j < first_a + len(a)) & (i >= first_b) & (i < first_b + len(b))
    kept = (i < j) | ((i > j) & ~mirrored)
    kept &= (a.scale[row] > 0) & (b.scale[column] > 0)
    row, column, i, j = row[kept], column[kept], i[kept], j[kept]
    correlation = _exact(a, b, row, column)
    kept = correlation >= threshold - ROUNDING
    i, j, correlation = i[kept], j[kept], np.minimum(correlation[kept], 1.0)
    return Edges(np.minimum(i, j).astype(np.int32), np.maximum(i, j).astype(np.int32), correlation.astype(np.float32))


def _exact(a: Panel, b: Panel, row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.float64]:
    """Pearson correlation of the pairs in float64; each depends on its two patterns only, and not on their order."""
    result = np.empty(len(row))
    step = max(1, CHUNK_ELEMENTS // max(a.patterns.shape[1], 1))
    for start in range(0, len(row), step):
        r, c = row[start : start + step], column[start : start + step]
        product = a.patterns[r] - a.mean[r, None]
        product *= b.patterns[c] - b.mean[c, None]
        result[start : start + step] = product.sum(axis=1) * (a.scale[r] * b.scale[c])
    return result
