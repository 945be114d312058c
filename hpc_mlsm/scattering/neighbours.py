"""Compiled enumeration of atom pairs in a crystal, merging those that stay equally long under strain."""

import numba
import numpy as np

SAME_POSITION = 1e-2
"""Atoms closer than this (Å) share one site (mixed occupancy) and are no pair."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def enumerate_pairs(differences, weights, classes, repeating, upper, basis, tolerance, r_cut):  # type: ignore[no-untyped-def]
    """All lattice images of some atom pairs, out to a distance.

    Parameters
    ----------
    differences : float64 array (n, 3)
        From one atom of a pair to the other, fractional.
    weights : float64 array (n,)
    classes : int64 array (n,), not descending
    repeating : bool array (n,)
        Whether images may be equivalent to each other, or to those of other pairs, and shall be looked for.
    upper : float64 array (3, 3)
        Upper-triangular matrix that takes fractional to Cartesian coordinates, Å.
    basis : float64 array (K, 3, 3)
        Symmetric matrices b of which ``d @ b @ d`` decides whether two differences d are equivalent.
    tolerance : float64 array (K,)
        How far those may differ.
    r_cut : float
        Å.

    Returns
    -------
    squares : float32 array (m,), Å²
    invariants : float32 array (K, m)
    sums : float64 array (m,)
        Weights, added up over equivalent pairs.
    labels : int32 array (m,)
        Classes, not descending.
    """
    room, room_repeating = _count(differences, repeating, upper, r_cut)
    n_free = len(basis)
    squares = np.empty(room, np.float32)
    invariants = np.empty((n_free, room), np.float32)
    sums = np.empty(room, np.float64)
    labels = np.empty(room, np.int32)
    capacity = 16
    while capacity < 2 * room_repeating:
        capacity *= 2
    table = np.zeros(capacity, np.uint64)
    values = np.empty(n_free)
    finest = 1 / tolerance
    closest = SAME_POSITION * SAME_POSITION
    count = 0
    for n in range(len(differences)):
        dx, dy, dz = differences[n]
        z_span = r_cut / upper[2, 2]
        for w in range(int(np.ceil(-z_span - dz)), int(np.floor(z_span - dz)) + 1):
            c = dz + w
            z = upper[2, 2] * c
            first_v, last_v = _span_v(upper, r_cut, dy, c, z)
            for v in range(first_v, last_v + 1):
                b = dy + v
                y = upper[1, 1] * b + upper[1, 2] * c
                first_u, last_u = _span_u(upper, r_cut, dx, b, c, y, z)
                for u in range(first_u, last_u + 1):
                    a = dx + u
                    x = upper[0, 0] * a + upper[0, 1] * b + upper[0, 2] * c
                    square = x * x + y * y + z * z
                    if square <= closest:
                        continue
                    for k in range(n_free):
                        m = basis[k]
                        values[k] = a * (m[0, 0] * a + 2.0 * (m[0, 1] * b + m[0, 2] * c))
                        values[k] += b * (m[1, 1] * b + 2.0 * m[1, 2] * c) + m[2, 2] * c * c
                    entry = count
                    if repeating[n]:
                        entry = _find(values, tolerance, finest, classes[n], invariants, labels, table, count)
                    if entry == count:
                        squares[count] = square
                        for k in range(n_free):
                            invariants[k, count] = values[k]
                        sums[count] = weights[n]
                        labels[count] = classes[n]
                        count += 1
                    else:
                        sums[entry] += weights[n]
    return squares[:count].copy(), invariants[:, :count].copy(), sums[:count].copy(), labels[:count].copy()


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _count(differences, repeating, upper, r_cut):  # type: ignore[no-untyped-def]
    """How many images there are within the distance, of all pairs and of the repeating ones."""
    total = 0
    total_repeating = 0
    for n in range(len(differences)):
        dx, dy, dz = differences[n]
        before = total
        z_span = r_cut / upper[2, 2]
        for w in range(int(np.ceil(-z_span - dz)), int(np.floor(z_span - dz)) + 1):
            c = dz + w
            z = upper[2, 2] * c
            first_v, last_v = _span_v(upper, r_cut, dy, c, z)
            for v in range(first_v, last_v + 1):
                b = dy + v
                first_u, last_u = _span_u(upper, r_cut, dx, b, c, upper[1, 1] * b + upper[1, 2] * c, z)
                total += max(0, last_u - first_u + 1)
        if repeating[n]:
            total_repeating += total - before
    return total, total_repeating


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _span_v(upper, r_cut, dy, c, z):  # type: ignore[no-untyped-def]
    """First and last second index of the lattice vectors in the sphere, where the third coordinate is z."""
    half = np.sqrt(max(r_cut * r_cut - z * z, 0.0)) / upper[1, 1]
    middle = -upper[1, 2] * c / upper[1, 1] - dy
    return int(np.ceil(middle - half)), int(np.floor(middle + half))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _span_u(upper, r_cut, dx, b, c, y, z):  # type: ignore[no-untyped-def]
    """First and last first index of the lattice vectors in the sphere, where the other coordinates are y and z."""
    half = np.sqrt(max(r_cut * r_cut - z * z - y * y, 0.0)) / upper[0, 0]
    middle = -(upper[0, 1] * b + upper[0, 2] * c) / upper[0, 0] - dx
    return int(np.ceil(middle - half)), int(np.floor(middle + half))


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _find(values, tolerance, finest, label, invariants, labels, table, count):  # type: ignore[no-untyped-def]
    """Entry of the list that has these values and this class; a new one, ``count``, is noted in the table.

    The table is open-addressing; a slot holds half of the hash and, in the other half, one more than the entry, so
    that a look-up costs one access to memory until it succeeds.
    """
    mixed = np.uint64(0x2545F4914F6CDD1D) ^ np.uint64(label)
    for k in range(len(values)):
        mixed ^= np.uint64(np.int64(np.floor(values[k] * finest[k] + 0.5)))
        mixed *= np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    upper_half = np.uint64(0xFFFFFFFF00000000)
    mask = np.uint64(len(table) - 1)
    slot = mixed & mask
    while True:
        held = table[slot]
        if held == np.uint64(0):
            table[slot] = (mixed & upper_half) | np.uint64(count + 1)
            return count
        if (held & upper_half) == (mixed & upper_half):
            entry = np.int64(held & ~upper_half) - 1
            same = labels[entry] == label
            for k in range(len(values)):
                # Single precision of the list is part of the difference.
                same &= abs(invariants[k, entry] - values[k]) <= tolerance[k] + 1e-6 * abs(values[k])
            if same:
                return entry
        slot = (slot + np.uint64(1)) & mask
