"""Tables of the morning report: stretches of frames that deserve a look, and what was set aside, by reason."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from hpc_mlsm.report.archive_answer import SET_ASIDE, VERDICTS, ArchiveAnswer
from hpc_mlsm.report.archive_maps import series_axis, shown_phases
from hpc_mlsm.report.binning import Bins

DOUBTFUL = (VERDICTS.index("several candidates"), VERDICTS.index("outside the catalogue"))
MOST_STRETCHES = 200
MOST_EXAMPLES = 5
NEIGHBOURS, CERTAIN = 10, 1.5
NOTABLE = 0.08
"""Share of the patterns (root of the sums of squares) that components may leave, noise apart, without a word on it."""


@dataclass(frozen=True)
class Stretch:
    """Frames one after the other of which the same is to be said."""

    first: int
    last: int
    name: str
    where: str
    verdict: str
    reason: str
    best: str

    @property
    def frames(self) -> int:
        """How many."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class AsideReason:
    """Frames that were set aside for one reason: how many, some names, and what was found of the first."""

    reason: str
    frames: int
    examples: tuple[str, ...]
    detail: str


@dataclass(frozen=True)
class PhaseRow:
    """A class that comes first in frames: how many, from where to where, and how probable on average.

    ``alike`` are the other structures of the class, whose patterns are too like its own to be told apart.
    """

    label: str
    class_id: str
    frames: int
    where: str
    probability: float
    confident: int
    alike: tuple[str, ...]


def doubtful_stretches(answer: ArchiveAnswer) -> tuple[list[Stretch], int]:
    """The longest stretches of doubtful frames in the order of the series, and how many there are altogether."""
    doubtful = np.isin(answer.verdict, DOUBTFUL)
    if answer.fits is not None:
        doubtful |= answer.fits.doubtful & (answer.verdict != SET_ASIDE)
    change = np.ones(answer.n, dtype=bool)
    change[1:] = (answer.verdict[1:] != answer.verdict[:-1]) | (doubtful[1:] != doubtful[:-1])
    change[1:] |= answer.top[1:, 0] != answer.top[:-1, 0]
    starts = np.flatnonzero(change)
    ends = np.append(starts[1:], answer.n) - 1
    chosen = [(int(a), int(b)) for a, b in zip(starts, ends, strict=True) if doubtful[a]]
    longest = sorted(chosen, key=lambda one: (one[0] - one[1], one[0]))[:MOST_STRETCHES]
    return [_stretch(answer, *one) for one in sorted(longest)], len(chosen)


def _stretch(answer: ArchiveAnswer, first: int, last: int) -> Stretch:
    place = int(answer.top[first, 0])
    best = answer.label(place) if place >= 0 else ""
    notes = answer.fits.notes[first] if answer.fits is not None and answer.fits.doubtful[first] else ""
    reason = "; ".join(text for text in (answer.reason[first], str(notes)) if text)
    where = where_of(answer, first, last)
    return Stretch(first, last, answer.names[first], where, VERDICTS[answer.verdict[first]], reason, best)


def where_of(answer: ArchiveAnswer, first: int, last: int) -> str:
    """From where to where in the series some frames are."""
    axis = series_axis(answer)
    unit = f" {axis.unit}" if axis.unit and axis.unit != "number" else ""
    a, b = (f"{axis.values[k]:.5g}" for k in (first, last))
    return (a if first == last or a == b else f"{a} – {b}") + unit


def aside_reasons(answer: ArchiveAnswer) -> list[AsideReason]:
    """What was set aside, the commonest reason first."""
    numbers = Counter(reject.reason for reject in answer.rejects)
    rows = []
    for reason, frames in numbers.most_common():
        own = [reject for reject in answer.rejects if reject.reason == reason]
        rows.append(AsideReason(reason, frames, tuple(one.name for one in own[:MOST_EXAMPLES]), own[0].detail))
    return rows


def phase_rows(answer: ArchiveAnswer) -> list[PhaseRow]:
    """The phases of the timeline."""
    rows = []
    for place in shown_phases(answer):
        own = np.flatnonzero(answer.named == place)
        rows.append(
            PhaseRow(
                label=answer.label(place),
                class_id=answer.classes[place].class_id,
                frames=len(own),
                where=where_of(answer, int(own[0]), int(own[-1])),
                probability=float(answer.probability[own, 0].mean()),
                confident=int((answer.verdict[own] == 0).sum()),
                alike=_alike(answer, place),
            )
        )
    return rows


def _alike(answer: ArchiveAnswer, place: int) -> tuple[str, ...]:
    entry, own = answer.classes[place], answer.label(place)
    labels = dict.fromkeys(f"{one.formula} ({one.space_group_symbol})" for one in entry.members)
    return tuple(label for label in labels if label != own)


def changing_shapes(answer: ArchiveAnswer) -> str:
    """A sentence on where phases change in shape, which makes the weights of components uncertain; or "".

    Two things tell it: weights that do not sum to one, in a series in which they do elsewhere, and what the components
    leave that is no noise. That is seen in means over neighbours. The noise that is left in these follows from how
    neighbours differ, ½ |rest - next rest|² / n on average, and CERTAIN times that is not counted.
    """
    found = answer.decomposition
    if found is None or found.stretch is not None or len(answer.patterns) < 2:
        return ""
    runs = Bins(found.bounds)
    weights = runs.mean(found.weights)
    rest = answer.patterns - weights @ found.components.curves
    groups = Bins.of(len(runs), max(1, len(runs) // NEIGHBOURS))
    whole = np.linalg.norm(groups.mean(answer.patterns), axis=1)
    steps = np.square(np.diff(rest, axis=0, append=rest[-2:-1])).sum(axis=1)
    noise = CERTAIN * 0.5 * groups.mean(steps) / groups.sizes
    lasting = np.sqrt(np.maximum(np.square(groups.mean(rest)).sum(axis=1) - noise, 0.0))
    left = lasting / np.where(whole > 0, whole, 1.0)
    beside = np.abs(groups.mean(weights.sum(axis=1)) - 1.0) * found.proposal.closed
    notable = np.flatnonzero((left > NOTABLE) | (beside > NOTABLE))
    if not len(notable):
        return ""
    first, last = runs.bounds[groups.bounds[[notable[0], notable[-1] + 1]]]
    where = where_of(answer, int(answer.used[first]), int(answer.used[last - 1]))
    sums = f" and sum to one but for {beside.max():.2f}" if beside.max() > NOTABLE else ""
    return (
        f"Weights of components are uncertain ({where}): they leave up to {left.max():.0%} of the patterns that is no "
        f"noise{sums}. Phases change in shape there (size of particles, strain, temperature), and weight goes to "
        "whichever component resembles the change. Which phase is there, and refined values, do not rest on weights."
    )
