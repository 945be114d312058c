"""What prediction over an archive needs of a model, whatever its kind: curves onto its grid, and answers."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.frame_checks import spikes
from hpc_mlsm.archive.frames import ArchiveIndex, ArchiveKind, Curves, FrameBlock, FrameReject
from hpc_mlsm.archive.predictions import Predictions
from hpc_mlsm.archive.resample import rows_to_grid
from hpc_mlsm.errors import PatternError
from hpc_mlsm.models.bundle import Bundle
from hpc_mlsm.models.classes import ClassEntry
from hpc_mlsm.models.trust import Answers


@dataclass(frozen=True, eq=False)
class Prepared:
    """Curves as a model takes them: numbers of the frames (n,), values (n, m), notes on each, and what was refused."""

    frames: NDArray[np.int64]
    values: NDArray[np.float64]
    notes: tuple[tuple[str, ...], ...]
    rejects: tuple[FrameReject, ...] = ()


class Classifier(Protocol):
    """A model for the frames of an archive."""

    @property
    def kind(self) -> ArchiveKind:
        """Of the patterns that it knows."""

    @property
    def classes(self) -> tuple[ClassEntry, ...]:
        """What its labels mean."""

    @property
    def grid(self) -> NDArray[np.float64]:
        """On which it takes patterns."""

    @property
    def calibrated(self) -> bool:
        """Whether its probabilities were fitted to how often it is right."""

    @property
    def origin(self) -> dict[str, str]:
        """What it was trained on, for those who read results."""

    @property
    def preparation(self) -> bytes:
        """Differs where prepared frames of the same archive do."""

    def prepare(self, curves: Curves, name: Callable[[int], str]) -> Prepared:
        """Curves with a common abscissa onto the grid; frames that cannot be used become rejects."""

    def answers(self, values: NDArray[np.float64], k: int, coverage: float) -> Answers:
        """The k likeliest classes of prepared curves, with verdicts."""

    def scores(self, values: NDArray[np.float64]) -> tuple[NDArray[np.floating], NDArray[np.floating] | None]:
        """Probabilities of all classes (n, C), and correlations with them where the model knows patterns of theirs."""


class PdfClassifier:
    """Boosted trees on PDFs."""

    kind: ArchiveKind = "pdf"
    calibrated = True

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.grid = bundle.info.grid
        self.origin = bundle.info.origin

    @property
    def classes(self) -> tuple[ClassEntry, ...]:
        """What its labels mean."""
        return self.bundle.classes

    @property
    def preparation(self) -> bytes:
        """The grid."""
        return np.ascontiguousarray(self.grid).tobytes()

    def prepare(self, curves: Curves, name: Callable[[int], str]) -> Prepared:
        """G(r) of many frames onto the model's grid; see ``rows_to_grid``."""
        frames = curves.frames
        try:
            values, notes, wrong = rows_to_grid(
                curves.like, curves.y, self.grid, name=lambda row: name(int(frames[row]))
            )
        except PatternError as error:  # of the abscissa, and so of all
            what = _without_place(error, curves)
            called = [(int(frame), name(int(frame))) for frame in frames]
            rejects = [FrameReject(frame, error.reason, f"{own}: {what}") for frame, own in called]
            return Prepared(frames[:0], np.zeros((0, len(self.grid))), (), tuple(rejects))
        rejects = [FrameReject.of(int(frames[row]), error) for row, error in wrong.items()]
        good = np.ones(len(frames), dtype=bool)
        good[list(wrong)] = False
        places = spikes(values)
        for row in np.flatnonzero(good & (places >= 0)).tolist():
            rejects.append(_spike(int(frames[row]), name(int(frames[row])), self.grid[places[row]]))
        good &= places < 0
        return Prepared(frames[good], values[good], (notes,) * int(good.sum()), tuple(rejects))

    def answers(self, values: NDArray[np.float64], k: int, coverage: float) -> Answers:
        """See ``Bundle.answers``."""
        return self.bundle.answers(values, k, coverage)

    def scores(self, values: NDArray[np.float64]) -> tuple[NDArray[np.floating], NDArray[np.floating] | None]:
        """See ``Bundle.probabilities`` and ``Bundle.correlations``."""
        return self.bundle.probabilities(values), self.bundle.correlations(values)


def predict_block(
    classifier: Classifier, index: ArchiveIndex, block: FrameBlock, frames: NDArray[np.int64], k: int, coverage: float
) -> Predictions:
    """Predictions for consecutive frames of an archive, of which ``block`` holds what could be read."""
    prepared = [classifier.prepare(curves, index.name) for curves in block.curves]
    found = Predictions.empty(frames, min(k, len(classifier.classes)))
    rejects = [*block.rejects, *(reject for one in prepared for reject in one.rejects)]
    notes = [" · ".join(own) for one in prepared for own in one.notes]
    texts = {text: k for k, text in enumerate(dict.fromkeys(filter(None, notes)))}
    if any(len(one.frames) for one in prepared):
        values = np.concatenate([one.values for one in prepared])
        rows = np.concatenate([one.frames for one in prepared]) - frames[0]
        answers = classifier.answers(values, k, coverage)
        for name in vars(answers):
            getattr(found, name)[rows] = getattr(answers, name)
        found.digest[rows] = _digests(values.astype(np.float32))
        found.note[rows] = [texts.get(note, -1) for note in notes]
    rejects.sort(key=lambda reject: reject.frame)
    return replace(found, notes=tuple(texts), rejects=tuple(rejects), calibrated=classifier.calibrated)


def _spike(frame: int, name: str, place: float) -> FrameReject:
    detail = f"{name}: a single point at {place:g} is larger than all the rest; measure or reduce this frame again"
    return FrameReject(frame, "spike", detail)


def _without_place(error: PatternError, curves: Curves) -> str:
    """An error's words without the file that it names first, which is another one."""
    return error.detail.removeprefix(f"{curves.like.source or curves.like.name}: ")


def _digests(values: NDArray[np.float32]) -> NDArray[np.uint64]:
    """A number for each row by which equal rows are found."""
    rows = np.ascontiguousarray(values)
    digests = [hashlib.blake2b(row.data, digest_size=8).digest() for row in rows]
    return np.frombuffer(b"".join(digests), dtype=np.uint64)
