"""Complete-linkage agglomeration over a sparse list of pairs, compiled."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

# A link is what is left of an edge while groups grow: it joins two groups that have an edge for every pair between
# them, and its number is the place of the last of these edges in the sweep. A merge keeps, for each group that is
# linked to both parts, the later of the two links, and drops all others. So the lists of links only shrink: a merge
# costs the length of two lists and leaves at most the shorter one, and the whole sweep costs a time proportional to
# the number of edges.


@njit(cache=True)
def merge_completed(u: NDArray[np.int32], v: NDArray[np.int32], n: int) -> NDArray[np.int64]:
    """Go through the edges in order; merge two groups at the edge that completes the pairs between them.

    Parameters
    ----------
    u, v : arrays (edges,)
        Two rows of each edge, most alike first. Both arrays are overwritten.
    n : int
        Number of rows.

    Returns
    -------
    array (n,) of int64
        A label for each row; labels are row numbers.
    """
    start, length, links = _links_of_rows(u, v, n)
    alive = np.ones(len(u), np.bool_)
    link_to = np.full(n, -1, np.int64)
    parent = np.arange(n)
    for k in range(len(u)):
        if not alive[k]:
            continue
        alive[k] = False
        gone, kept = u[k], v[k]
        if length[gone] > length[kept]:
            gone, kept = kept, gone
        parent[gone] = kept
        own = links[start[gone] : start[gone] + length[gone]]
        other = links[start[kept] : start[kept] + length[kept]]
        length[kept] = _join(gone, kept, own, other, u, v, alive, link_to)
    return _roots(parent)


@njit(cache=True)
def _links_of_rows(u: NDArray[np.int32], v: NDArray[np.int32], n: int) -> tuple:
    """The links of each row: where its list starts, its length, and all lists one behind the other."""
    length = np.zeros(n, np.int64)
    for k in range(len(u)):
        length[u[k]] += 1
        length[v[k]] += 1
    start = np.cumsum(length) - length
    filled = start.copy()
    links = np.empty(2 * len(u), np.int64)
    for k in range(len(u)):
        for row in (u[k], v[k]):
            links[filled[row]] = k
            filled[row] += 1
    return start, length, links


@njit(cache=True)
def _join(
    gone: int,
    kept: int,
    own: NDArray[np.int64],
    other: NDArray[np.int64],
    u: NDArray[np.int32],
    v: NDArray[np.int32],
    alive: NDArray[np.bool_],
    link_to: NDArray[np.int64],
) -> int:
    """Intersect the links of two groups into the list of the one that is kept; returns its new length."""
    for link in own:
        if alive[link]:
            link_to[u[link] + v[link] - gone] = link
    count = 0
    for link in other:
        if not alive[link]:
            continue
        third = u[link] + v[link] - kept
        if link_to[third] < 0:
            alive[link] = False
            continue
        alive[min(link, link_to[third])] = False
        later = max(link, link_to[third])
        link_to[third] = -1
        u[later], v[later] = kept, third
        other[count] = later
        count += 1
    for link in own:  # what has found no partner has an edge missing, for good
        if alive[link] and (u[link] == gone or v[link] == gone):
            alive[link] = False
            link_to[u[link] + v[link] - gone] = -1
    return count


@njit(cache=True)
def _roots(parent: NDArray[np.int64]) -> NDArray[np.int64]:
    for row in range(len(parent)):
        root = row
        while parent[root] != root:
            root = parent[root]
        while parent[row] != root:
            parent[row], row = root, parent[row]
    return parent
