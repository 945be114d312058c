"""How far an answer can be trusted: calibrated probabilities, a set that holds the right class, and a verdict.

A model trained on a catalogue answers every curve with one of its classes, noise too. Here its answer is compared with
what is seen of patterns of the catalogue, of patterns whose own class was taken away, and of curves that are no
patterns; ``trust_fit`` learns the differences from validation rows.
"""

import json
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft
from scipy.special import expit, softmax

from hpc_mlsm.errors import BundleError
from hpc_mlsm.models.largest import largest
from hpc_mlsm.models.retrieval import Retrieval

Judgement = Literal["confident", "several", "outside", "amorphous"]
VERDICTS: tuple[Judgement, ...] = ("confident", "several", "outside", "amorphous")
"""One class is certain; none is, but there are candidates; no structure of the catalogue; noise or amorphous."""

TRUST_VERSION = 2
"""Raised when what is learned changes its meaning."""

RECALIBRATE = (
    "run `hpc-mlsm train RUN` on the run that trained it: that learns this from validation patterns and keeps the trees"
)

NEIGHBOURS = 10
"""So many of a frame's likeliest classes are compared with their training patterns."""

SMALLEST = 1e-6
FLOOR = 1e-7
"""Added to shares of a residual before their logarithm; rounding is of that size."""

BANDS = (0.0, 1 / 6, 1 / 3, 2 / 3, 1.0)
"""Edges of the frequencies of residuals, as shares of the highest: structure shows in the lowest."""

FEW_ROWS, FEW_A_CLASS, FEW_CLASSES = 1000, 8.0, 60
"""With fewer validation rows, or rows a class, or classes, what is learned of trust is told to be weak."""


@dataclass(frozen=True)
class Odds:
    """Probability of "yes" from features, by logistic regression on them and their squares."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]

    def __call__(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities (n,) from features (n, f)."""
        return np.asarray(expit(lifted(features, np.array(self.mean), np.array(self.scale)) @ np.array(self.weights)))


def lifted(features: NDArray[np.float64], mean: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standardised features, kept within ±6, their squares, and ones."""
    z = np.clip((features - mean) / scale, -6.0, 6.0)
    return np.concatenate([z, z * z, np.ones((len(z), 1))], axis=1)


@dataclass(frozen=True)
class Trust:
    """What was learned from validation rows.

    Attributes
    ----------
    correlation_weight : float
        The logarithm of a class's probability is its score over the temperature plus this, times the correlation with
        its nearest training pattern.
    nonconformity : tuple of float
        1 - probability of the right class of validation rows, sorted: at most 1000 quantiles.
    known : Odds
        That a frame shows a structure of the catalogue, from ``answer_features``.
    known_least, known_sure : float
        Below the first a frame counts as outside the catalogue; no answer is confident below the second.
    correlation_least : float
        A frame that correlates less with its nearest training pattern is outside the catalogue, whatever else.
    pattern : Odds
        That a frame is a pattern of something crystalline, from ``curve_features``.
    figures : dict
        What was measured on validation rows: how many rows and classes, reliability, ECE, shares of verdicts.
    """

    correlation_weight: float
    nonconformity: tuple[float, ...]
    known: Odds
    known_least: float
    known_sure: float
    correlation_least: float
    pattern: Odds
    figures: dict[str, Any] = field(default_factory=dict)

    def threshold(self, coverage: float) -> float:
        """Least probability of a class in the sets that hold the right class with this coverage (split conformal)."""
        n = len(self.nonconformity)
        place = min(n - 1, int(np.ceil((n + 1) * coverage)) - 1)
        return 1.0 - self.nonconformity[max(0, place)]

    @property
    def weakness(self) -> str:
        """Why verdicts deserve some caution, in a sentence; empty where they rest on rows enough."""
        rows, classes = self.figures.get("rows", 0), max(1, self.figures.get("classes", 0))
        if rows >= FEW_ROWS and rows >= FEW_A_CLASS * classes and classes >= FEW_CLASSES:
            return ""
        return (
            f"What can be trusted was learned from {rows} validation patterns of {classes} classes, "
            f"{rows / classes:.2g} a class, which is little: verdicts are chosen with caution, and good answers "
            "doubted more often. More structures, or more variants of each (simulate.variants), mend that."
        )

    def to_json(self) -> str:
        """Text that ``from_json`` reads back."""
        return json.dumps({"version": TRUST_VERSION, **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What ``to_json`` wrote.

        Raises
        ------
        BundleError
            If the text is something else.
        """
        try:
            raw = json.loads(text)
            version = raw.pop("version", 1)
            if version != TRUST_VERSION:
                raise BundleError(
                    f"the trust of the model is of version {version}, this program needs {TRUST_VERSION}; {RECALIBRATE}"
                )
            odds = {name: Odds(*(tuple(raw[name][key]) for key in ("mean", "scale", "weights"))) for name in _ODDS}
            return cls(**{**raw, **odds, "nonconformity": tuple(raw["nonconformity"])})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BundleError(f"the trust of the model cannot be read ({error}); {RECALIBRATE}") from error


_ODDS = ("known", "pattern")


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers for n patterns; columns as in ``archive.predictions.Predictions``."""

    verdict: NDArray[np.int8]
    classes: NDArray[np.int32]
    probabilities: NDArray[np.float32]
    set_size: NDArray[np.int32]
    nearest: NDArray[np.int32]
    correlation: NDArray[np.float32]
    known: NDArray[np.float32]
    pattern: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The likeliest classes by score (n, m), in no order.

    With the correlation with the nearest pattern of each, and the share that its patterns together leave unexplained.
    """

    classes: NDArray[np.int64]
    correlations: NDArray[np.float32]
    unexplained: NDArray[np.float32]

    @classmethod
    def of(cls, retrieval: Retrieval, values: NDArray[np.float32], margins: NDArray[np.float32]) -> Self:
        """Those of standardised patterns."""
        classes = likeliest(margins)
        return cls(classes, *retrieval.of_classes(values, classes))


def likeliest(margins: NDArray[np.float32]) -> NDArray[np.int64]:
    """The classes with the highest scores, (n, NEIGHBOURS) or as many as there are; ascending labels."""
    return np.sort(largest(margins, NEIGHBOURS), axis=1)


def pooled(
    margins: NDArray[np.float32], near: Neighbours, temperature: float, correlation_weight: float
) -> NDArray[np.float32]:
    """Class probabilities (n, C) from scores and correlations together (a logarithmic opinion pool).

    Classes whose correlation is not known are taken to correlate as the worst of those that are.
    """
    scaled = margins * np.float32(1.0 / temperature)
    if correlation_weight:
        gained = near.correlations - near.correlations.min(axis=1, keepdims=True)
        rows = np.arange(len(margins))[:, None]
        scaled[rows, near.classes] += np.float32(correlation_weight) * gained
    return np.asarray(softmax(scaled, axis=1), dtype=np.float32)


def answer_features(
    residuals: NDArray[np.float32], near: Neighbours, probabilities: NDArray[np.float32]
) -> NDArray[np.float64]:
    """What tells patterns of the catalogue from others, (n, 11), whatever the model thought of the classes.

    Of what the patterns of the likeliest class leave of a pattern: its share in each of four bands of frequency and
    altogether, its autocorrelation, and how much more the next best class leaves. Then correlations with the nearest
    pattern, of any class and of the likeliest, and their difference. Scores and probabilities are not among them: trees
    that never saw a class are surer of its neighbours than trees that learned to tell these from it.

    Parameters
    ----------
    residuals : float32 (n, points)
        Of standardised patterns; see ``Retrieval.residuals``.
    near : Neighbours
    probabilities : float32 (n, C)
    """
    own = near.classes == probabilities.argmax(axis=1)[:, None]
    energy = np.square(residuals).sum(axis=1).astype(np.float64)
    spectrum = rfft(residuals, axis=1)[:, 1:]
    power = (np.square(spectrum.real) + np.square(spectrum.imag)) * (2.0 / residuals.shape[1])
    edges = [round(edge * power.shape[1]) for edge in BANDS]
    bands = [power[:, start:stop].sum(axis=1) for start, stop in pairwise(edges)]
    follows = (residuals[:, 1:] * residuals[:, :-1]).sum(axis=1) / np.maximum(energy, 1e-12)
    other = np.where(own, 1.0, near.unexplained).min(axis=1)
    best = near.correlations.max(axis=1).astype(np.float64)
    first = np.where(own, near.correlations, -1.0).max(axis=1)
    columns = [
        *(np.log(band + FLOOR) for band in bands),
        np.log(energy + FLOOR),
        follows,
        np.log((other + 1e-6) / (energy + 1e-6)),
        np.arctanh(np.clip(best, -0.99, 0.9999)),
        best,
        np.arctanh(np.clip(first, -0.99, 0.9999)),
        best - first,
    ]
    return np.stack(columns, axis=1).astype(np.float64)


def curve_features(values: NDArray[np.float32], correlation: NDArray[np.floating]) -> NDArray[np.float64]:
    """What tells patterns from noise and from amorphous curves, (n, 8), whatever the axis.

    Of standardised curves: autocorrelation at one and two steps, how the signal is spread over the range and over
    frequencies, its sharpness, and the correlation with the nearest training pattern.
    """
    x = np.asarray(values, dtype=np.float32)
    n = x.shape[1]
    energy = np.square(x)
    total = np.maximum(energy.sum(axis=1), 1e-30)
    spectrum = rfft(x, axis=1)[:, 1:]
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    share = power / np.maximum(power.sum(axis=1, keepdims=True), 1e-30)
    columns = np.stack(
        [
            (x[:, 1:] * x[:, :-1]).sum(axis=1) / total,
            (x[:, 2:] * x[:, :-2]).sum(axis=1) / total,
            np.log(energy[:, n // 3 :].sum(axis=1) / total + 1e-3),
            np.log(energy[:, 2 * n // 3 :].sum(axis=1) / total + 1e-3),
            np.log(np.square(energy).sum(axis=1) * n / total**2),
            np.log(np.square(share).sum(axis=1) * share.shape[1]),
            np.log(share[:, 2 * share.shape[1] // 3 :].sum(axis=1) + 1e-4),
            np.arctanh(np.clip(correlation, -0.99, 0.9999)),
        ],
        axis=1,
    )
    return columns.astype(np.float64)


def judge(
    trust: Trust,
    values: NDArray[np.float32],
    near: Neighbours,
    probabilities: NDArray[np.float32],
    residuals: NDArray[np.float32],
    k: int,
    coverage: float,
) -> Answers:
    """Answers and verdicts for patterns.

    Parameters
    ----------
    values, residuals : float32 (n, points)
        Standardised patterns, and what the likeliest class leaves of each; see ``Retrieval.residuals``.
    near : Neighbours
    probabilities : float32 (n, C)
        What ``pooled`` made of the model's scores.
    k : int
        Classes to keep.
    coverage : float
        Of the sets of candidates.
    """
    rows = np.arange(len(values))
    order = largest(probabilities, k)
    best = near.correlations.argmax(axis=1)
    correlation = near.correlations[rows, best]
    known = trust.known(answer_features(residuals, near, probabilities))
    pattern = trust.pattern(curve_features(values, correlation))
    size = np.maximum(1, (probabilities >= trust.threshold(coverage)).sum(axis=1))
    sure = (size == 1) & (known >= trust.known_sure)
    verdict = np.where(sure, VERDICTS.index("confident"), VERDICTS.index("several"))
    verdict[(known < trust.known_least) | (correlation < trust.correlation_least)] = VERDICTS.index("outside")
    verdict[pattern < 0.5] = VERDICTS.index("amorphous")
    return Answers(
        verdict=verdict.astype(np.int8),
        classes=order.astype(np.int32),
        probabilities=np.take_along_axis(probabilities, order, axis=1),
        set_size=size.astype(np.int32),
        nearest=near.classes[rows, best].astype(np.int32),
        correlation=correlation.astype(np.float32),
        known=known.astype(np.float32),
        pattern=pattern.astype(np.float32),
    )
