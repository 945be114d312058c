"""Scores of a classifier on labelled rows, gathered batch by batch."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.models.calibration import reliability

TOP_K = (1, 3, 5)


@dataclass(frozen=True)
class Scores:
    """Accuracy at k, balanced accuracy (mean of the classes' own), and how many rows they rest on."""

    top_k: dict[int, float]
    balanced: float
    n_rows: int


@dataclass(frozen=True)
class ClassScore:
    """One class: rows, share named first, and the classes it was mistaken for with their share, commonest first."""

    label: int
    n_rows: int
    top1: float
    mistaken_for: tuple[tuple[int, float], ...]


@dataclass
class ScoreSheet:
    """Counts of right and wrong answers, to which batches are added."""

    n_classes: int
    hits: dict[int, int] = field(default_factory=lambda: dict.fromkeys(TOP_K, 0))
    n_rows: int = 0

    def __post_init__(self) -> None:
        self.rows_of = np.zeros(self.n_classes, dtype=np.int64)
        self.right_of = np.zeros(self.n_classes, dtype=np.int64)
        self.mistakes: Counter[tuple[int, int]] = Counter()
        self.confidence: list[NDArray[np.float64]] = []
        self.correct: list[NDArray[np.bool_]] = []

    def add(self, scores: NDArray[np.floating], labels: NDArray[np.int64]) -> None:
        """Count a batch of scores (rows, classes), larger is better; of equal scores the lower class ranks first."""
        own = np.take_along_axis(scores, labels[:, None], axis=1)
        classes = np.arange(scores.shape[1])
        rank = (scores > own).sum(axis=1) + ((scores == own) & (classes < labels[:, None])).sum(axis=1)
        for k in TOP_K:
            self.hits[k] += int((rank < k).sum())
        best = scores.argmax(axis=1)
        self.n_rows += len(labels)
        self.rows_of += np.bincount(labels, minlength=self.n_classes)
        self.right_of += np.bincount(labels[rank == 0], minlength=self.n_classes)
        wrong = rank > 0
        self.mistakes.update(zip(labels[wrong].tolist(), best[wrong].tolist(), strict=True))
        self.confidence.append(scores.max(axis=1).astype(float))
        self.correct.append(rank == 0)

    def scores(self) -> Scores:
        """Scores over all rows added."""
        present = self.rows_of > 0
        balanced = float((self.right_of[present] / self.rows_of[present]).mean()) if present.any() else float("nan")
        top_k = {k: count / max(1, self.n_rows) for k, count in self.hits.items()}
        return Scores(top_k, balanced, self.n_rows)

    def weakest(self, n: int) -> tuple[ClassScore, ...]:
        """The classes with the lowest share of right first answers, weakest first."""
        present = np.flatnonzero(self.rows_of)
        accuracy = self.right_of[present] / self.rows_of[present]
        chosen = present[np.lexsort((present, -self.rows_of[present], accuracy))][:n]
        return tuple(self._class_score(int(label)) for label in chosen)

    def _class_score(self, label: int) -> ClassScore:
        rows = int(self.rows_of[label])
        mistakes = Counter({other: count for (own, other), count in self.mistakes.items() if own == label})
        shares = tuple((other, count / rows) for other, count in mistakes.most_common(3))
        return ClassScore(label, rows, self.right_of[label] / rows, shares)

    def reliability(self, bins: int = 15) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Mean confidence, accuracy and rows of each filled bin of confidence; scores must be probabilities."""
        confidence = np.concatenate([*self.confidence, np.zeros(0)])
        return reliability(confidence, np.concatenate([*self.correct, np.zeros(0, bool)]), bins)
