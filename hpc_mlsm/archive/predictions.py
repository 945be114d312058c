"""What a model says of the frames of an archive, as columns."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.frames import FrameReject
from hpc_mlsm.models.trust import VERDICTS

SET_ASIDE = len(VERDICTS)
"""In place of a verdict: the frame could not be used, and is among the rejects."""

NOT_JUDGED = SET_ASIDE + 1
"""In place of a verdict: the frame has an answer, of a model that does not say how far its answers can be trusted."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Answers for n frames, the k most probable classes each; a row for every frame, in their order.

    Attributes
    ----------
    frames : int64 (n,)
        Numbers of the frames in the archive.
    verdict : int8 (n,)
        Index into ``models.trust.VERDICTS``, SET_ASIDE or NOT_JUDGED.
    classes : int32 (n, k)
        Labels, the most probable first; -1 in rows that are set aside.
    probabilities : float32 (n, k)
        NaN in rows that are set aside.
    set_size : int32 (n,)
        How many of the most probable classes make the set that holds the right one at the chosen coverage; 0, as -1
        and NaN in the columns that follow, in rows that are not judged.
    nearest : int32 (n,)
        Class of the training pattern that correlates best.
    correlation : float32 (n,)
        With it (Pearson); the residual of the match is the root of 1 - correlation².
    known : float32 (n,)
        Probability that the frame shows a structure of the catalogue.
    pattern : float32 (n,)
        Probability that the frame is a pattern of something crystalline, and not noise or an amorphous curve.
    digest : uint64 (n,)
        Of the frame's prepared values, by which duplicates are found; 0 in rows that are set aside.
    note : int32 (n,)
        Index into ``notes``, -1 for none.
    notes : tuple of str
        What was assumed or done with frames.
    rejects : tuple of FrameReject
        Frames that were set aside, with their reasons.
    calibrated : bool
        Whether probabilities were fitted to how often the model is right; those of forests are shares of votes.
    """

    frames: NDArray[np.int64]
    verdict: NDArray[np.int8]
    classes: NDArray[np.int32]
    probabilities: NDArray[np.float32]
    set_size: NDArray[np.int32]
    nearest: NDArray[np.int32]
    correlation: NDArray[np.float32]
    known: NDArray[np.float32]
    pattern: NDArray[np.float32]
    digest: NDArray[np.uint64]
    note: NDArray[np.int32]
    notes: tuple[str, ...] = ()
    rejects: tuple[FrameReject, ...] = ()
    calibrated: bool = True

    def __len__(self) -> int:
        return len(self.frames)

    @classmethod
    def empty(cls, frames: NDArray[np.int64], k: int) -> Self:
        """Rows for frames of which nothing is known yet: all set aside."""
        n = len(frames)
        return cls(
            frames=frames,
            verdict=np.full(n, SET_ASIDE, dtype=np.int8),
            classes=np.full((n, k), -1, dtype=np.int32),
            probabilities=np.full((n, k), np.nan, dtype=np.float32),
            set_size=np.zeros(n, dtype=np.int32),
            nearest=np.full(n, -1, dtype=np.int32),
            correlation=np.full(n, np.nan, dtype=np.float32),
            known=np.full(n, np.nan, dtype=np.float32),
            pattern=np.full(n, np.nan, dtype=np.float32),
            digest=np.zeros(n, dtype=np.uint64),
            note=np.full(n, -1, dtype=np.int32),
        )

    @classmethod
    def together(cls, parts: Sequence[Self]) -> Self:
        """Several blocks as one, in the order of their frames."""
        texts = tuple(dict.fromkeys(text for part in parts for text in part.notes))
        number = {text: k for k, text in enumerate(texts)}
        moved = []
        for part in parts:
            table = np.array([*(number[text] for text in part.notes), -1], dtype=np.int32)
            moved.append(replace(part, note=table[part.note]))
        columns = {name: np.concatenate([getattr(part, name) for part in moved]) for name in COLUMNS}
        order = np.argsort(columns["frames"], kind="stable")
        rejects = sorted((reject for part in parts for reject in part.rejects), key=lambda reject: reject.frame)
        return cls(
            **{name: values[order] for name, values in columns.items()},
            notes=texts,
            rejects=tuple(rejects),
            calibrated=all(part.calibrated for part in parts),
        )

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Which rows have an answer."""
        return self.verdict != SET_ASIDE

    @property
    def residual(self) -> NDArray[np.float32]:
        """Share of a frame (root of the sum of squares) that the nearest training pattern leaves unexplained."""
        return np.sqrt(np.maximum(0.0, 1.0 - self.correlation**2)).astype(np.float32)

    def duplicates(self) -> NDArray[np.int64]:
        """For each frame the number of the first frame with exactly the same values, -1 where it is the first."""
        first_of: NDArray[np.int64] = np.full(len(self), -1, dtype=np.int64)
        rows = np.flatnonzero(self.usable)
        _, first, inverse = np.unique(self.digest[rows], return_index=True, return_inverse=True)
        origin = rows[first][inverse]
        later = origin != rows
        first_of[rows[later]] = self.frames[origin[later]]
        return first_of


COLUMNS = tuple(one.name for one in fields(Predictions) if one.name not in ("notes", "rejects", "calibrated"))
"""Columns of numbers, in their order."""
