"""The trees of a boosted model, asked many times faster than XGBoost asks them, with the same sums to the last bit."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.models import tree_images, tree_kernels
from hpc_mlsm.models.ubjson import read_counted, read_ubjson

_Starts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Trees:
    """The trees of a model as bit masks, in their order; see ``tree_kernels``.

    Attributes
    ----------
    feature, threshold, mask : int32, float32, uint32 or uint64 (nodes,)
        Point that a node looks at, limit below which it goes left, and all leaves but those on its left.
    leaf : float32 (leaves,)
        Values of the leaves.
    first_node, first_leaf : int64 (trees + 1,)
        Where each tree begins.
    target : int32 (trees,)
        Class of each tree.
    begin : float32 (classes,)
        Scores before the first tree.
    points : int
        Values of a row.
    """

    feature: NDArray[np.int32]
    threshold: NDArray[np.float32]
    mask: NDArray[Any]
    leaf: NDArray[np.float32]
    first_node: NDArray[np.int64]
    first_leaf: NDArray[np.int64]
    target: NDArray[np.int32]
    begin: NDArray[np.float32]
    points: int

    @classmethod
    def of(cls, model: bytes) -> Self | None:
        """Those of a model that XGBoost saved as UBJSON; None where it has trees of many leaves or of another kind."""
        image = np.frombuffer(model, np.uint8)
        places, nodes = np.zeros((0, 6), np.int64), np.zeros(0, np.int64)

        def found(whole: bytes, at: int) -> tuple[int, int]:
            nonlocal places, nodes
            count, at = read_counted(whole, at)
            places, nodes = np.empty((count, 6), np.int64), np.empty(count, np.int64)
            end = tree_images.find_trees(image, at, places, nodes)
            if end < 0:
                raise ValueError("trees of another kind")
            return count, end

        try:
            learner = read_ubjson(model, {"trees": found})["learner"]
            booster, parameters = learner["gradient_booster"], learner["learner_model_param"]
            n_classes, points = int(parameters["num_class"]), int(parameters["num_feature"])
            begin = np.array(parameters["base_score"].strip("[]").split(","), dtype=np.float32)
            target = np.asarray(booster["model"]["tree_info"], np.int32)
            plain = booster["name"] == "gbtree" and learner["objective"]["name"] == "multi:softprob"
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        fits = len(target) == len(places) and _within(target, n_classes) and len(begin) in (1, n_classes)
        fits &= n_classes <= len(model)
        flat = _flattened(image, places, nodes) if plain and fits else None
        if flat is None or not _within(flat[0], points):
            return None
        return cls(*flat, target, np.broadcast_to(begin, n_classes).copy(), points)

    def margins(self, patterns: NDArray[np.float32]) -> NDArray[np.float32]:
        """Untransformed scores (rows, classes) of patterns (rows, points) without NaN."""
        values = np.ascontiguousarray(patterns, dtype=np.float32)
        if values.ndim != 2 or values.shape[1] != self.points:
            raise ValueError(f"patterns of shape {values.shape} for trees that look at {self.points} points")
        sums = np.broadcast_to(self.begin, (len(values), len(self.begin))).copy()
        pieces = _pieces(len(values), _threads())
        if len(pieces) < 2:
            self._add(values, sums)
        else:
            with ThreadPoolExecutor(len(pieces)) as pool:
                list(pool.map(lambda piece: self._add(values[piece], sums[piece]), pieces))
        return sums

    def _add(self, values: NDArray[np.float32], sums: NDArray[np.float32]) -> None:
        signed = np.empty(0, np.int32 if self.mask.dtype == np.uint32 else np.int64)
        tree_kernels.add_trees(
            values,
            self.feature,
            self.threshold,
            self.mask,
            self.first_node,
            self.leaf,
            self.first_leaf,
            self.target,
            signed,
            sums,
        )


def _flattened(
    image: NDArray[np.uint8], places: NDArray[np.int64], nodes: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[Any], NDArray[np.float32], _Starts, _Starts] | None:
    """``Trees.feature`` to ``first_leaf``; None where a tree has too many leaves."""
    most, n_trees = int(nodes.sum()), len(nodes)
    feature, threshold = np.empty(most, np.int32), np.empty(most, np.uint32)
    mask, leaf = np.empty(most, np.uint64), np.empty(most, np.uint32)
    first_node, first_leaf = np.zeros(n_trees + 1, np.int64), np.zeros(n_trees + 1, np.int64)
    if not tree_images.flatten_trees(image, places, nodes, feature, threshold, mask, first_node, leaf, first_leaf):
        return None
    n_nodes, n_leaves = int(first_node[-1]), int(first_leaf[-1])
    few = int(np.diff(first_leaf).max(initial=1)) <= 32
    return (
        feature[:n_nodes].copy(),
        threshold[:n_nodes].view(np.float32).copy(),
        mask[:n_nodes].astype(np.uint32 if few else np.uint64),
        leaf[:n_leaves].view(np.float32).copy(),
        first_node,
        first_leaf,
    )


def _within(numbers: NDArray[np.int32], count: int) -> bool:
    return bool(((numbers >= 0) & (numbers < count)).all())


def _pieces(rows: int, threads: int) -> list[slice]:
    """Rows in a share for each thread, of whole blocks."""
    blocks = -(-rows // tree_kernels.ROWS)
    each = -(-blocks // max(1, threads)) * tree_kernels.ROWS
    return [slice(start, min(start + each, rows)) for start in range(0, rows, max(1, each))]


def _threads() -> int:
    """As many as libraries with OpenMP may have here."""
    from joblib import cpu_count  # type: ignore[import-untyped]

    asked = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(asked)) if asked.isdigit() else int(cpu_count())
