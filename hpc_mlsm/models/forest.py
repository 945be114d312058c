"""Forests grown tree by tree, so that any number of workers grows the same one.

Tree k is a forest of one tree with a seed of its own, made of the forest's seed and k. So it does not matter which task
it falls into; tasks give their trees, or the votes of their trees on a test fold, and both add up exactly.
"""

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import StoreError
from hpc_mlsm.models.forest_files import dump, load, read_checked, sklearn_version, write_checked
from hpc_mlsm.models.forest_rows import ForestRows, read_rows
from hpc_mlsm.models.forest_settings import ForestSettings

VOTE = 2**32
"""A tree's whole vote. Votes are whole numbers: their sum does not depend on the order, as that of floats would."""


@dataclass(frozen=True)
class TreeTask:
    """Trees ``first`` to ``first + count`` of a forest, for one worker.

    With a ``fold`` they grow without its rows, and vote on them. ``checksum`` is that of the file of rows.
    """

    rows: str
    checksum: str
    folder: str
    settings: ForestSettings
    n_classes: int
    first: int
    count: int
    fold: int | None = None
    cost_per_tree: float = 1.0

    @property
    def id(self) -> str:
        """Name of the task: the same for the same trees of the same data."""
        part = "all" if self.fold is None else f"fold{self.fold}"
        key = repr(
            (self.checksum, self.n_classes, replace(self.settings, trees=1, trees_per_task=1), sklearn_version())
        )
        digest = hashlib.sha256(key.encode()).hexdigest()[:12]
        return f"{self.settings.kind}-{part}-{self.first:05d}-{self.count:04d}-{digest}"

    @property
    def cost(self) -> float:
        """Projected seconds."""
        return self.count * self.cost_per_tree

    @property
    def units(self) -> int:
        """How many trees."""
        return self.count

    @property
    def path(self) -> Path:
        """Where the trees or the votes are written."""
        return Path(self.folder) / f"{self.id}{'.trees' if self.fold is None else '.votes'}"

    def split(self) -> tuple["TreeTask", ...]:
        """Two halves, for a worker that had too little memory; none where there is one tree."""
        half = self.count // 2
        if not half:
            return ()
        return replace(self, count=half), replace(self, first=self.first + half, count=self.count - half)


@dataclass(frozen=True)
class Grown:
    """What a task gave: the file with its trees or votes, its checksum, and the scikit-learn that grew them."""

    task: TreeTask
    path: str
    checksum: str
    version: str
    reused: bool = False


def plan_forest(
    rows: Path, checksum: str, folder: Path, settings: ForestSettings, data: ForestRows, folds: Sequence[int] = ()
) -> list[TreeTask]:
    """Tasks for one forest on all rows, or, where folds are named, for one forest without each of them."""
    n, features = data.features.shape
    per_tree = seconds_per_tree(settings, n, features)
    n_classes = int(data.labels.max()) + 1
    step, trees = settings.trees_per_task, settings.trees
    return [
        TreeTask(str(rows), checksum, str(folder), settings, n_classes, first, min(step, trees - first), fold, per_tree)
        for fold in (folds or (None,))
        for first in range(0, trees, step)
    ]


def seconds_per_tree(settings: ForestSettings, rows: int, features: int) -> float:
    """Projected seconds to grow one tree on one core, as measured.

    90 ns per row, feature tried and level for random forests, 25 ns for random thresholds.
    """
    tried = np.sqrt(features) * np.log2(max(rows, 2))
    return float(rows * tried * (9e-8 if settings.kind == "random_forest" else 2.5e-8))


def grow(task: TreeTask) -> Grown:
    """Grow the trees of a task and write them, or their votes; for workers. A whole file that is there is kept.

    Raises
    ------
    StoreError
        If the rows cannot be read or are not the driver's, or the result cannot be written.
    """
    finished = read_checked(task.path)
    if finished is not None:
        return _grown(task, finished, reused=True)
    data = read_rows(Path(task.rows), task.checksum)
    features, labels = data.training(task.fold)
    if not len(labels):
        raise StoreError(f"fold {task.fold} leaves no rows to train on; use more folds")
    numbers = range(task.first, task.first + task.count)
    forests = (_one_tree(task.settings, number, features, labels) for number in numbers)
    if task.fold is None:
        image = dump(_joined(list(forests), task.settings))
    else:
        test = data.features[data.test(task.fold)]
        image = _npy(_votes(forests, test, task.n_classes))
    write_checked(task.path, image)
    return _grown(task, image, reused=False)


def merge(grown: Sequence[Grown], settings: ForestSettings) -> Any:
    """One scikit-learn estimator of all trees of a forest, in their order.

    Raises
    ------
    StoreError
        If trees are missing, were grown by different versions of scikit-learn, or a file was altered.
    """
    parts = _in_order(grown, settings, None)
    return _joined([load(_content_of(part)) for part in parts], settings)


def merged_votes(grown: Sequence[Grown], settings: ForestSettings, fold: int) -> NDArray[np.float64]:
    """Class probabilities (rows of the fold, classes) that a forest gives, from the votes of its trees.

    Raises
    ------
    StoreError
        As ``merge``.
    """
    parts = _in_order(grown, settings, fold)
    total = sum(np.load(io.BytesIO(_content_of(part)), allow_pickle=False) for part in parts)
    return np.asarray(total / (VOTE * settings.trees), dtype=np.float64)


def _grown(task: TreeTask, content: bytes, *, reused: bool) -> Grown:
    return Grown(task, str(task.path), hashlib.sha256(content).hexdigest(), sklearn_version(), reused)


def _content_of(grown: Grown) -> bytes:
    content = read_checked(Path(grown.path))
    if content is None or hashlib.sha256(content).hexdigest() != grown.checksum:
        raise StoreError(f"{grown.path} was lost or altered since its trees were grown; run again")
    return content


def _one_tree(settings: ForestSettings, number: int, features: NDArray[np.float32], labels: NDArray[np.int64]) -> Any:
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

    kind = RandomForestClassifier if settings.kind == "random_forest" else ExtraTreesClassifier
    seed = int(np.random.SeedSequence([settings.seed, number]).generate_state(1)[0]) % 2**31
    forest = kind(n_estimators=1, random_state=seed, n_jobs=1, **_parameters(settings))
    return forest.fit(features, labels)


def _parameters(settings: ForestSettings) -> dict[str, Any]:
    kept = ("max_depth", "criterion", "min_samples_leaf", "min_samples_split")
    return {key: value for key, value in asdict(settings).items() if key in kept} | {
        "max_features": None if settings.max_features == "all" else settings.max_features,
        "class_weight": "balanced" if settings.class_weight == "balanced" else None,
    }


def _joined(forests: Sequence[Any], settings: ForestSettings) -> Any:
    joined = forests[0]
    joined.estimators_ = [tree for forest in forests for tree in forest.estimators_]
    return joined.set_params(n_estimators=len(joined.estimators_), random_state=settings.seed)


def _votes(forests: Iterator[Any], test: NDArray[np.float32], n_classes: int) -> NDArray[np.int64]:
    votes = np.zeros((len(test), n_classes), dtype=np.int64)
    for forest in forests:
        if len(test):
            votes[:, forest.classes_] += np.rint(forest.predict_proba(test) * VOTE).astype(np.int64)
    return votes


def _npy(array: NDArray[np.int64]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def _in_order(grown: Sequence[Grown], settings: ForestSettings, fold: int | None) -> list[Grown]:
    """The parts of one forest in the order of their trees, refused where they are not all of it."""
    parts = sorted((part for part in grown if part.task.fold == fold), key=lambda part: part.task.first)
    versions = sorted({part.version for part in parts})
    if len(versions) > 1:
        raise StoreError(
            f"trees were grown by scikit-learn {' and '.join(versions)}; use one environment on all nodes and run again"
        )
    covered = [number for part in parts for number in range(part.task.first, part.task.first + part.task.count)]
    if covered != list(range(settings.trees)):
        missing = sorted(set(range(settings.trees)) - set(covered))
        raise StoreError(
            f"{len(missing)} of {settings.trees} trees are missing"
            + (f" (first: tree {missing[0]})" if missing else ", others came twice")
            + "; run again, which grows the missing ones only"
        )
    return parts
