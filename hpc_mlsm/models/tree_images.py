"""Finding the trees in a model that XGBoost saved as UBJSON, and making them the bit masks of ``tree_kernels``."""

import numba
import numpy as np
from numpy.typing import NDArray

MOST_LEAVES = 64

LEFT, RIGHT, FEATURE, CONDITION, KIND, WEIGHT = range(6)
_KEYS = np.frombuffer(b"left_children right_children split_indices split_conditions split_type base_weights ", np.uint8)
_TYPES = np.frombuffer(b"llldUd", np.uint8)
_SIZES = np.zeros(256, np.int64)
_SIZES[np.frombuffer(b"iUIlLdD", np.uint8)] = (1, 1, 2, 4, 8, 4, 8)
_NEEDED = 12
"""Bytes that follow every place that is looked at, in a model that is whole."""


@numba.njit(cache=True, nogil=True)
def find_trees(image: NDArray[np.uint8], at: int, places: NDArray[np.int64], nodes: NDArray[np.int64]) -> int:
    """Where the arrays of the trees lie that begin at ``at`` in a model that XGBoost saved as UBJSON.

    Fills ``places`` (trees, 6), by LEFT to WEIGHT, and ``nodes`` (trees,). Returns the position behind the last tree,
    -1 if anything is not as expected: trees whose leaves hold several values have more weights than nodes.
    """
    for tree in range(len(places)):
        nodes[tree] = -1
        places[tree] = -1
        depth = 0
        while depth or nodes[tree] < 0:
            if at + _NEEDED > len(image):
                return -1
            if depth and image[at] == ord("}"):
                at, depth = at + 1, depth - 1
                if not depth and places[tree].min() < 0:
                    return -1
                continue
            key = length = 0
            if depth:
                key, length = at + 9, _length(image, at)
                at = key + length
                if length < 0 or at + _NEEDED > len(image):
                    return -1
            code = image[at]
            if code == ord("{"):
                at, depth = at + 1, depth + 1
            elif code == ord("["):
                count, size = _length(image, at + 4), _SIZES[image[at + 2]]
                if image[at + 1] != ord("$") or image[at + 3] != ord("#") or count < 0 or size == 0:
                    return -1
                which = _which(image, key, length) if depth == 1 else -1
                if which >= 0:
                    if image[at + 2] != _TYPES[which] or nodes[tree] not in (-1, count):
                        return -1
                    places[tree, which], nodes[tree] = at + 13, count
                at += 13 + count * size
            elif code == ord("S"):
                length = _length(image, at + 1)
                if length < 0:
                    return -1
                at += 10 + length
            elif _SIZES[code]:
                at += 1 + _SIZES[code]
            else:
                return -1
    return at


@numba.njit(cache=True, nogil=True)
def flatten_trees(
    image: NDArray[np.uint8],
    places: NDArray[np.int64],
    nodes: NDArray[np.int64],
    feature: NDArray[np.int32],
    threshold: NDArray[np.uint32],
    mask: NDArray[np.uint64],
    first_node: NDArray[np.int64],
    leaf: NDArray[np.uint32],
    first_leaf: NDArray[np.int64],
) -> bool:
    """Fill in the trees as bit masks, with floats as their bits; False if a tree has too many leaves, or is no tree."""
    n_nodes = n_leaves = 0
    stack = np.empty((2 * MOST_LEAVES + 2, 4), np.int64)  # node, whether its left branch is done, its place, first leaf
    for tree in range(len(places)):
        begin, seen, depth = n_leaves, 0, 1
        stack[0] = (0, 0, 0, 0)
        while depth:
            node, left_done, place, first = stack[depth - 1]
            if node < 0 or node >= nodes[tree] or depth > 2 * MOST_LEAVES:
                return False
            left = _int32(image, places[tree, LEFT] + 4 * node)
            if left_done:
                below = n_leaves - begin
                mask[place] = ~((_bits(below)) ^ _bits(first))
                stack[depth - 1] = (_int32(image, places[tree, RIGHT] + 4 * node), 0, 0, 0)
                continue
            seen += 1
            if seen > nodes[tree]:
                return False
            value = np.uint32(_int32(image, places[tree, CONDITION] + 4 * node))
            if left < 0:
                if n_leaves - begin == MOST_LEAVES:
                    return False
                leaf[n_leaves] = value
                n_leaves, depth = n_leaves + 1, depth - 1
                continue
            if image[places[tree, KIND] + node]:
                return False  # a choice among categories
            feature[n_nodes] = _int32(image, places[tree, FEATURE] + 4 * node)
            threshold[n_nodes] = value
            stack[depth - 1] = (node, 1, n_nodes, n_leaves - begin)
            stack[depth] = (left, 0, 0, 0)
            n_nodes, depth = n_nodes + 1, depth + 1
        first_node[tree + 1], first_leaf[tree + 1] = n_nodes, n_leaves
    return True


@numba.njit(cache=True, nogil=True, inline="always")
def _length(image: NDArray[np.uint8], at: int) -> int:
    """A 64-bit length with its mark at ``at``; -1 where there is none that can be true."""
    if at + 9 > len(image) or image[at] != ord("L"):
        return -1
    length = 0
    for byte in range(at + 1, at + 9):
        length = (length << 8) | image[byte]
    return length if length <= len(image) else -1


@numba.njit(cache=True, nogil=True)
def _which(image: NDArray[np.uint8], key: int, length: int) -> int:
    """The number among _KEYS of the text at ``key``, or -1."""
    begin = which = 0
    for at in range(len(_KEYS)):
        if _KEYS[at] != ord(" "):
            continue
        if at - begin == length:
            same = True
            for k in range(length):
                same &= image[key + k] == _KEYS[begin + k]
            if same:
                return which
        begin, which = at + 1, which + 1
    return -1


@numba.njit(cache=True, nogil=True, inline="always")
def _int32(image: NDArray[np.uint8], at: int) -> np.int64:
    value = np.uint32(0)
    for byte in range(at, at + 4):
        value = np.uint32((value << np.uint32(8)) | np.uint32(image[byte]))
    return np.int64(np.int32(value))


@numba.njit(cache=True, nogil=True, inline="always")
def _bits(count: int) -> np.uint64:
    """The lowest bits, so many."""
    return ~np.uint64(0) if count >= 64 else (np.uint64(1) << np.uint64(count)) - np.uint64(1)
