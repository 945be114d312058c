"""From edges to groups: each method gives every structure a label, 0 to K - 1.

All methods see only the edges, so their memory grows with the number of similar pairs, not with n². Labels are
numbered by the first structure (lowest row number) of each group.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from hpc_mlsm.grouping.edges import Edges
from hpc_mlsm.grouping.settings import Linkage


def labels_for(ids: Sequence[str], edges: Edges, linkage: Linkage) -> NDArray[np.int64]:
    """Label structures by one method, with turns and ties decided by their ids.

    The grouping is therefore the same in whatever order the structures are stored.

    Parameters
    ----------
    ids : sequence of str
        Id of the structure in each row.
    edges : Edges
        Pairs of rows that correlate at the threshold or above.
    linkage : {"single", "leader", "complete"}
        Which method.

    Returns
    -------
    array (n,) of int64
    """
    n = len(ids)
    if linkage == "single":
        return single_linkage(n, edges)
    methods: dict[Linkage, Callable[..., NDArray[np.int64]]] = {"leader": leader, "complete": complete_linkage}
    return methods[linkage](n, edges, np.array(sorted(range(n), key=ids.__getitem__), dtype=np.int64))


def single_linkage(n: int, edges: Edges) -> NDArray[np.int64]:
    """Group what is connected through edges, along chains of any length, as MLstructureMining does.

    Independent of order. Two members of a group may correlate far below the threshold.
    """
    graph = csr_array((np.ones(len(edges), np.int8), (edges.i, edges.j)), shape=(n, n))
    return _numbered(connected_components(graph, directed=False)[1])


def leader(n: int, edges: Edges, order: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Let each structure in turn join the leader it correlates with most, or become a leader.

    Every member has an edge to its leader; two members of a group may lie below the threshold. The result depends
    on the order of turns; a structure that comes later never changes the groups of those before it.

    Parameters
    ----------
    n : int
        Number of structures.
    edges : Edges
        Pairs that correlate at the threshold or above.
    order : array (n,), optional
        Rows in the order of their turns; by row number where not given. Of two leaders that correlate equally, the
        one whose turn came first is joined.
    """
    turns = np.arange(n) if order is None else order
    rank = _ranks(turns)
    graph = _neighbours(n, edges)
    leads = np.zeros(n, dtype=bool)
    labels = np.arange(n)
    for row in turns:
        near = slice(graph.indptr[row], graph.indptr[row + 1])
        is_leader = leads[graph.indices[near]]
        if not is_leader.any():
            leads[row] = True
            continue
        candidates, correlation = graph.indices[near][is_leader], graph.data[near][is_leader]
        best = candidates[correlation == correlation.max()]
        labels[row] = best[np.argmin(rank[best])]
    return _numbered(labels)


def complete_linkage(n: int, edges: Edges, order: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Merge groups, most alike first, as long as every pair of the merged group has an edge.

    This is agglomeration with complete linkage on 1 - r, cut at 1 - threshold: two groups are as alike as their
    least alike pair, so edges are taken from the highest correlation down, and two groups merge with the edge that
    completes the set of pairs between them.

    Parameters
    ----------
    n : int
        Number of structures.
    edges : Edges
        Pairs that correlate at the threshold or above.
    order : array (n,), optional
        Order of the rows by which ties between equal correlations are settled; by row number where not given.
    """
    from hpc_mlsm.grouping.agglomerate import merge_completed  # numba takes long to import

    rank = _ranks(np.arange(n) if order is None else order).astype(np.int32)  # as small as the edges' own rows
    first, second = rank[edges.i], rank[edges.j]
    low, high = np.minimum(first, second), np.maximum(first, second)
    sweep = np.lexsort((high, low, -edges.correlation))
    return _numbered(merge_completed(edges.i[sweep], edges.j[sweep], n))


def _neighbours(n: int, edges: Edges) -> csr_array:
    """Symmetric sparse matrix of the edges' values."""
    i, j = np.concatenate([edges.i, edges.j]), np.concatenate([edges.j, edges.i])
    return coo_array((np.tile(edges.correlation, 2), (i, j)), shape=(n, n)).tocsr()


def _ranks(order: NDArray[np.int64]) -> NDArray[np.int64]:
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank


def _numbered(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """The same partition, labelled 0 to K - 1 by the first row of each part."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return _ranks(np.argsort(first))[inverse]
