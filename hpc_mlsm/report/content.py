"""What a report shows, as plain values: a stage fills these, and nothing here knows where they came from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.candidates import Ranking
from hpc_mlsm.archive.pattern import PatternReject
from hpc_mlsm.errors import RunError
from hpc_mlsm.evaluation.fold_files import FoldStudy
from hpc_mlsm.models.cnn_history import EpochRecord
from hpc_mlsm.models.trust import Judgement
from hpc_mlsm.structures.structure import Reject


@dataclass(frozen=True)
class CatalogueSummary:
    """Structures of the catalogue by crystal system (triclinic … cubic), and the refused ones by reason."""

    n_structures: int
    n_rejected: int
    rejects_by_reason: dict[str, int] = field(default_factory=dict)
    rejects: tuple[Reject, ...] | list[Reject] = ()
    crystal_systems: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class StageSummary:
    """One stage: status ("done" where nothing is missing), wall time (s), tasks done and failed, and its output.

    ``units`` of ``unit_name`` are what the stage has made, such as 43 700 "patterns".
    """

    name: str
    status: str
    seconds: float
    done: int
    failed: int
    units: int
    unit_name: str


@dataclass(frozen=True)
class GroupSummary:
    """Groups of structures: how they were linked, the size of each, and (id, formulae, smallest correlation) of some.

    ``largest`` holds the largest groups first; their smallest correlation is that between any two members.
    """

    threshold: float
    linkage: str
    sizes: tuple[int, ...]
    largest: tuple[tuple[str, tuple[str, ...], float], ...] = ()


@dataclass(frozen=True)
class TrainingSummary:
    """How a model was trained; ``losses`` are validation losses (nats) a round, ``best_round`` counts from 0.

    ``caution`` says in a sentence why its verdicts rest on little, where they do.
    """

    n_classes: int
    train_rows: int
    validation_rows: int
    test_rows: int
    losses: tuple[float, ...]
    best_round: int
    temperature: float
    seconds: float
    device: str
    caution: str = ""


@dataclass(frozen=True)
class NetworkTraining:
    """How a network was trained; ``best_epoch`` is the one whose weights were kept, and counts from 1."""

    name: str
    train_rows: int
    validation_rows: int
    history: tuple[EpochRecord, ...]
    best_epoch: int
    ranks: int
    device: str
    temperature: float

    @property
    def best(self) -> EpochRecord:
        """The epoch that was kept."""
        return self.history[self.best_epoch - 1]

    @property
    def seconds(self) -> float:
        """Of the training steps of all epochs."""
        return sum(record.seconds for record in self.history)


@dataclass(frozen=True)
class ForestTraining:
    """A forest on peaks: how many trees it has, and training patterns of each class."""

    name: str
    kind: str
    trees: int
    max_depth: int
    rows_by_class: Mapping[str, int]

    @property
    def train_rows(self) -> int:
        """Training patterns of all classes."""
        return sum(self.rows_by_class.values())


@dataclass(frozen=True)
class ModelScore:
    """Accuracy of one model on the test rows by k; ``dummy`` marks a model that only guesses."""

    name: str
    top_k: dict[int, float]
    n_rows: int
    dummy: bool = False
    note: str = ""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Mean confidence, accuracy and rows of each bin of confidence, each (bins,); the expected calibration error."""

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    counts: NDArray[np.int64]
    ece: float


@dataclass(frozen=True)
class WeakSpot:
    """A class that is often missed: its test rows, the share named right, and (formula, share) of what is named."""

    class_id: str
    formula: str
    space_group_symbol: str
    n: int
    top1: float
    mistaken_for: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, eq=False)
class CandidateFit:
    """A candidate's simulated curve (n,), scaled to lie on the measured one, and how well it does.

    ``r_w`` is sqrt(Σ(measured - curve)² / Σ measured²) and ``correlation`` Pearson's. ``parameters`` are what was
    fitted, as name → (value, unit), with standard ``uncertainties`` where there are any. ``rank`` is the
    candidate's; where it is not given, its place among the fits.
    """

    label: str
    curve: NDArray[np.floating]
    scale: float
    r_w: float
    correlation: float
    parameters: dict[str, tuple[float, str]] = field(default_factory=dict)
    rank: int | None = None
    uncertainties: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class PatternResult:
    """A measured pattern (n,) over r (Å, n), its candidates and their fits, the best first.

    ``expected`` is the formula (or structure id, or name) of the sample where that is known; ``simulated`` marks a
    sample that was simulated for a first look and not measured; ``judgement`` is what the model's bundle makes of its
    answer.
    """

    name: str
    source: str
    r: NDArray[np.floating]
    measured: NDArray[np.floating]
    ranking: Ranking
    fits: tuple[CandidateFit, ...] = ()
    notes: tuple[str, ...] = ()
    expected: str | None = None
    simulated: bool = False
    judgement: Judgement | None = None

    def __post_init__(self) -> None:
        curves = {"measured": self.measured} | {f"fit {fit.label}": fit.curve for fit in self.fits}
        for what, curve in curves.items():
            if np.shape(curve) != np.shape(self.r):
                raise RunError(
                    f"report, pattern {self.name}: {what} has shape {np.shape(curve)}, and {np.shape(self.r)} is "
                    "needed, as of its r; bring all curves to one grid"
                )

    def fit_of(self, rank: int) -> CandidateFit | None:
        """The fit of the candidate of that rank, None where it was not fitted."""
        return dict(self.ranked_fits).get(rank)

    @property
    def ranked_fits(self) -> tuple[tuple[int, CandidateFit], ...]:
        """(rank of the candidate, fit), in the order of the fits."""
        return tuple((fit.rank or place, fit) for place, fit in enumerate(self.fits, start=1))


@dataclass(frozen=True, eq=False)
class ReportContent:
    """All that a report shows; a part that is None or empty has not been run, and the report says so.

    ``scores`` holds the model first and then what it is compared with. ``settings`` may be nested. ``grouped``
    is False for runs that have no stage group, whose classes are crystal systems. ``answers_page`` leads from the
    report to the page of measured powder patterns, where there is one.
    """

    title: str
    run: str
    created: datetime
    versions: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    catalogue: CatalogueSummary | None = None
    stages: tuple[StageSummary, ...] = ()
    groups: GroupSummary | None = None
    grouped: bool = True
    training: TrainingSummary | None = None
    networks: tuple[NetworkTraining, ...] = ()
    forests: tuple[ForestTraining, ...] = ()
    scores: tuple[ModelScore, ...] = ()
    folds: FoldStudy | None = None
    calibration: Calibration | None = None
    weak_spots: tuple[WeakSpot, ...] = ()
    patterns: tuple[PatternResult, ...] = ()
    rejected_patterns: tuple[PatternReject, ...] = ()
    answers_page: str | None = None

    @property
    def model(self) -> ModelScore | None:
        """Score of the model, None where it has not been evaluated."""
        return self.scores[0] if self.scores else None

    @property
    def baselines(self) -> tuple[ModelScore, ...]:
        """Scores of what the model is compared with, without those that only guess."""
        return tuple(score for score in self.scores[1:] if not score.dummy)

    def first_fitted(self) -> PatternResult | None:
        """The first pattern with a fit, None where there is none."""
        return next((pattern for pattern in self.patterns if pattern.fits), None)
