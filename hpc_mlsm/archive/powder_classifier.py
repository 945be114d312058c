"""Forests and networks over archives of powder patterns."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.classifier import Prepared
from hpc_mlsm.archive.frames import ArchiveKind, Curves, FrameReject
from hpc_mlsm.archive.powder_answers import prepare_patterns
from hpc_mlsm.archive.powder_settings import MeasuredPowderSettings
from hpc_mlsm.archive.predictions import NOT_JUDGED
from hpc_mlsm.models.classes import ClassEntry, MemberEntry
from hpc_mlsm.models.powder_models import PowderModel
from hpc_mlsm.models.trust import Answers


class PowderClassifier:
    """One model of crystal systems; it has answers and no verdicts."""

    kind: ArchiveKind = "powder"

    def __init__(self, model: PowderModel, settings: MeasuredPowderSettings) -> None:
        self.model = model
        self.settings = settings
        self.grid = model.two_theta
        self.origin = {"model_fingerprint": model.bundle.info.fingerprint}
        self.classes = tuple(map(_entry, model.classes))

    @property
    def calibrated(self) -> bool:
        """Whether probabilities are more than shares of votes."""
        return self.model.calibrated

    @property
    def preparation(self) -> bytes:
        """Grid, wavelength, and how measured patterns are treated."""
        how = (self.model.bundle.info.grid, self.model.wavelength, self.model.knows_background, self.settings)
        return repr(how).encode()

    def prepare(self, curves: Curves, name: Callable[[int], str]) -> Prepared:
        """Measured patterns to the model's wavelength, grid and scale; see ``prepare_powder``."""
        frames = curves.frames
        patterns = [curves.pattern(row, name(int(frame))) for row, frame in enumerate(frames)]
        found = prepare_patterns([self.model], patterns, self.settings)
        kept = found.kept if self.model.knows_background else found.stripped
        values = np.array([one.values for one in kept]).reshape(len(kept), len(self.grid))
        notes = tuple(one.notes for one in found.stripped)
        rejects = tuple(FrameReject.of(int(frames[row]), error) for row, error in found.refused)
        return Prepared(frames[np.array(found.rows, dtype=np.intp)], values, notes, rejects)

    def answers(self, values: NDArray[np.float64], k: int, coverage: float) -> Answers:
        """The k likeliest classes; ``coverage`` means nothing to models that are not judged."""
        n, found = len(values), self.model.probabilities(values)
        order = np.argsort(-found, axis=1, kind="stable")[:, :k]
        unknown = np.full(n, np.nan, dtype=np.float32)
        return Answers(
            verdict=np.full(n, NOT_JUDGED, dtype=np.int8),
            classes=order.astype(np.int32),
            probabilities=np.take_along_axis(found, order, axis=1).astype(np.float32),
            set_size=np.zeros(n, dtype=np.int32),
            nearest=np.full(n, -1, dtype=np.int32),
            correlation=unknown,
            known=unknown,
            pattern=unknown,
        )

    def scores(self, values: NDArray[np.float64]) -> tuple[NDArray[np.floating], None]:
        """See ``PowderModel.probabilities``."""
        return self.model.probabilities(values), None


def _entry(name: str) -> ClassEntry:
    """A crystal system as a class: no structures are its members, but its name."""
    return ClassEntry(name, (MemberEntry(name, name, 0, "", None, frozenset(), ""),), name)
