"""All that was found of an archive, as arrays over its frames: what the result file and the morning report show."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.candidates import Ranking
from hpc_mlsm.archive.frames import ArchiveKind
from hpc_mlsm.archive.pattern import PatternReject
from hpc_mlsm.decomposition.decomposition import Decomposition
from hpc_mlsm.errors import RunError
from hpc_mlsm.models.classes import ClassEntry
from hpc_mlsm.refinement.gathered import GatheredFits
from hpc_mlsm.report.content import CandidateFit, StageSummary

VERDICTS = ("confident", "several candidates", "outside the catalogue", "amorphous or noise", "set aside", "not judged")
"""What can be said of a frame; numbers in ``ArchiveAnswer.verdict`` are places in this list."""

SET_ASIDE = VERDICTS.index("set aside")
WITH_CANDIDATES = (VERDICTS.index("confident"), VERDICTS.index("several candidates"))
NOT_JUDGED = VERDICTS.index("not judged")
NO_CLASS = -1


@dataclass(frozen=True)
class Plotted:
    """What patterns are drawn and written as: names and units in files, labels in figures."""

    abscissa: str
    unit: str
    abscissa_label: str
    signal: str
    signal_unit: str
    signal_text: str
    signal_label: str


_PLOTTED: dict[ArchiveKind, Plotted] = {
    "pdf": Plotted("r", "angstrom", "$r$ (Å)", "G", "1/angstrom^2", "G(r)", "$G(r)$ (Å$^{-2}$)"),
    "powder": Plotted("two_theta", "degree", r"$2\theta$ (°)", "intensity", "", "Intensity", "Intensity (1)"),
}


@dataclass(frozen=True, eq=False)
class SeriesAxis:
    """What the frames of an archive go along: "temperature" in "K", say, and its value of each frame (n,)."""

    name: str
    unit: str
    values: NDArray[np.float64]

    @property
    def label(self) -> str:
        """For an axis of a figure."""
        return f"{self.name.replace('_', ' ').capitalize()} ({self.unit or 'number'})"


@dataclass(frozen=True, eq=False)
class ShownFit:
    """A frame (or component) with its fit, for a figure: points r (Å), the curve there and what it is, and the fit."""

    name: str
    where: str
    r: NDArray[np.float64]
    measured: NDArray[np.float64]
    fit: CandidateFit
    what: str = "measured"


@dataclass(frozen=True, eq=False)
class ArchiveAnswer:
    """All that was found of an archive of n frames.

    Attributes
    ----------
    title, archive, run, created
        What the report is called, what was read, where results are, and when.
    names
        Of the frames (n,).
    axis
        What the frames go along.
    grid
        The model's: r in Å, or 2θ in degree (points,).
    classes
        Those that occur among the candidates.
    top, probability
        Candidates of each frame (n, k), the likeliest first: places in ``classes`` (-1: none) and their probabilities.
    verdict
        Place in ``VERDICTS`` of each frame (n,).
    reason
        Why a frame is doubtful or was set aside; empty texts for others (n,).
    used
        Numbers of the frames that were taken apart (m,), ascending.
    patterns
        Means of ``decomposition.bounds``'s runs on the grid, for the waterfall; as float32 (runs, points).
    decomposition
        Of the frames in ``used``; None where it was not done.
    component_candidates, component_verdicts
        One for each component.
    fits
        Refinements of all n frames; None where it was not done.
    component_fits, best_fits, worst_fits
        For figures.
    rejects
        Frames and files that could not be used.
    provenance
        Model name and hash, fingerprints, versions.
    notes
        What a reader should know.
    synthetic
        What was made up and not measured, in sentences.
    kind
        Of the patterns; frames of powder patterns are of crystal systems, not judged, and not refined.
    calibrated
        Whether probabilities were fitted to how often the model is right.
    """

    title: str
    archive: str
    run: str
    created: datetime
    names: Sequence[str]
    axis: SeriesAxis
    grid: NDArray[np.float64]
    classes: tuple[ClassEntry, ...]
    top: NDArray[np.int32]
    probability: NDArray[np.float32]
    verdict: NDArray[np.int8]
    reason: Sequence[str]
    used: NDArray[np.int64]
    patterns: NDArray[np.float32]
    decomposition: Decomposition | None = None
    component_candidates: tuple[Ranking, ...] = ()
    component_verdicts: tuple[str, ...] = ()
    fits: GatheredFits | None = None
    component_fits: tuple[ShownFit, ...] = ()
    best_fits: tuple[ShownFit, ...] = ()
    worst_fits: tuple[ShownFit, ...] = ()
    rejects: tuple[PatternReject, ...] = ()
    stages: tuple[StageSummary, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    synthetic: tuple[str, ...] = ()
    kind: ArchiveKind = "pdf"
    calibrated: bool = True

    def __post_init__(self) -> None:
        lengths = {
            "axis": len(self.axis.values),
            "top": len(self.top),
            "probability": len(self.probability),
            "verdict": len(self.verdict),
            "reason": len(self.reason),
        } | ({"fits": len(self.fits)} if self.fits is not None else {})
        wrong = [f"{name} of {length}" for name, length in lengths.items() if length != self.n]
        if self.decomposition is not None and self.decomposition.n != len(self.used):
            wrong.append(f"a decomposition of {self.decomposition.n} frames for {len(self.used)} used")
        if wrong:
            raise RunError(
                f"{self.run}: an archive of {self.n} frames has {', '.join(wrong)}: results of different archives; "
                "run the archive again"
            )

    @property
    def n(self) -> int:
        """Frames."""
        return len(self.names)

    @property
    def k(self) -> int:
        """Candidates of a frame."""
        return self.top.shape[1]

    @property
    def named(self) -> NDArray[np.int32]:
        """The first candidate of each frame (n,), where it looks like a structure of the catalogue; -1 elsewhere.

        The first candidate of a frame that is amorphous, noise, or like nothing in the catalogue is a guess.
        """
        named = np.isin(self.verdict, (*WITH_CANDIDATES, NOT_JUDGED))
        return np.where(named, self.top[:, 0], NO_CLASS).astype(np.int32)

    def label(self, place: int) -> str:
        """ "Formula (space group)" of a class, or the name of a crystal system."""
        entry = self.classes[place].representative_member
        return f"{entry.formula} ({entry.space_group_symbol})" if entry.space_group else entry.formula

    @property
    def plotted(self) -> Plotted:
        """Names, units and labels of the patterns."""
        return _PLOTTED[self.kind]

    @property
    def counts(self) -> dict[str, int]:
        """Frames of each verdict."""
        numbers = np.bincount(self.verdict, minlength=len(VERDICTS))
        return {word: int(number) for word, number in zip(VERDICTS, numbers, strict=True)}
