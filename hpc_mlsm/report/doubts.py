"""What in a run deserves doubt: sentences that a reader should see before any figure."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from hpc_mlsm.evaluation.fold_files import DUMMY
from hpc_mlsm.report.content import ModelScore, ReportContent
from hpc_mlsm.report.quantities import count, fixed, percent, plural
from hpc_mlsm.report.verdicts import LOW_PROBABILITY, Code, reasons_of

TEMPERATURES = (0.5, 2.0)
LARGEST_ECE = 0.05
CHAINED_BY = 0.1
"""A group whose smallest correlation lies this far below the threshold holds structures that are not alike."""

REJECTED_SHARE = 0.1
FEW_ROWS = 100
NAMED = 4
_OF_PATTERNS: dict[Code, str] = {
    "not_expected": "the first candidate is not what the sample is known to be",
    "outside": "the curve resembles no structure of the catalogue",
    "amorphous": "the curve looks like noise or an amorphous sample",
    "low_confidence": f"confidence is low, no candidate reaching a probability of {percent(LOW_PROBABILITY)}",
    "poor_fit": "no candidate describes the curve",
    "better_fit": "another candidate fits better than the first",
    "baseline_differs": "the nearest neighbour prefers another candidate",
    "filtered": "the filter took most of the probability away",
}
"""What a reason means for several patterns; reasons that are left out here are told with the pattern only."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A sentence, and the anchor of the section that it is about."""

    text: str
    section: str


def doubts_of(content: ReportContent) -> tuple[Doubt, ...]:
    """All doubts about a run, in the order of the report's sections."""
    return (
        *(Doubt(text, "patterns") for text in _patterns(content)),
        *(Doubt(text, "model") for text in _model(content)),
        *(Doubt(text, "model") for text in _training(content)),
        *(Doubt(text, "folds") for text in _folds(content)),
        *(Doubt(text, "classes") for text in _groups(content)),
        *(Doubt(text, "catalogue") for text in _catalogue(content)),
        *(Doubt(text, "run") for text in _stages(content)),
    )


def _patterns(content: ReportContent) -> Iterator[str]:
    of: dict[Code, list[str]] = {}
    for pattern in content.patterns:
        for reason in reasons_of(pattern):
            of.setdefault(reason.code, []).append(pattern.name)
    total = plural(len(content.patterns), "pattern")
    for code, meaning in _OF_PATTERNS.items():
        if names := of.get(code):
            yield f"For {count(len(names))} of {total} {meaning}: {_listed(names)}."
    if content.rejected_patterns:
        refused = plural(len(content.rejected_patterns), "pattern")
        yield f"{refused} could not be used: {_listed([reject.name for reject in content.rejected_patterns])}."


def _listed(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {count(more)} more" if more > 0 else "")


def _model(content: ReportContent) -> Iterator[str]:
    model = content.model
    if model is None:
        return
    for other in content.scores[1:]:
        if _first(other) > _first(model):
            yield (
                f"{other.name} does better than {model.name}: it names the right class first for "
                f"{percent(_first(other))} against {percent(_first(model))} of the test rows."
            )
    if model.n_rows < FEW_ROWS:
        yield f"The accuracies rest on {plural(model.n_rows, 'test row')} only."
    if content.calibration is not None and content.calibration.ece > LARGEST_ECE:
        yield (
            f"Stated probabilities are off by {percent(content.calibration.ece)} on average (expected calibration "
            "error): take them as an order, not as odds."
        )


def _first(score: ModelScore) -> float:
    value = score.top_k.get(1, math.nan)
    return value if math.isfinite(value) else 0.0


def _training(content: ReportContent) -> Iterator[str]:
    training = content.training
    if training is None:
        return
    if training.caution:
        yield training.caution
    low, high = TEMPERATURES
    if not low <= training.temperature <= high:
        tendency = "overconfident" if training.temperature > high else "underconfident"
        yield (
            f"The model is {tendency} by itself: a temperature of {fixed(training.temperature, 2)} was needed to "
            "turn its scores into probabilities (1 would be none)."
        )
    if training.losses and training.best_round >= len(training.losses) - 1:
        yield (
            f"The validation loss was still falling in the last of {plural(len(training.losses), 'round')}: more "
            "rounds would give a better model."
        )


def _folds(content: ReportContent) -> Iterator[str]:
    study = content.folds
    if study is None:
        return
    made_up = [name for name, number in study.synthetic.items() if number]
    if made_up:
        yield (
            f"Synthetic crystals are in the data {'set' if len(made_up) == 1 else 'sets'} {', '.join(made_up)}: scores "
            "on patterns that were never measured, of structures that nobody found, say little of real ones."
        )
    dummies = {one.data_set: one.mean_std("accuracy")[0] for one in study.results if one.model == DUMMY}
    for one in study.results:
        mean, std = one.mean_std("accuracy")
        floor = dummies.get(one.data_set, math.nan)
        if one.model != DUMMY and mean <= floor + std:
            yield (
                f"{one.model} is hardly better than always the commonest crystal system on data set {one.data_set}: "
                f"{percent(mean)} against {percent(floor)}, and {percent(std)} is what a fold differs by."
            )
    small = [one for one in study.results if one.model == DUMMY and one.rows_by_class.sum() < FEW_ROWS * len(one.folds)]
    for one in small:
        yield (
            f"A fold of data set {one.data_set} has about {count(one.rows_by_class.sum() / len(one.folds))} patterns "
            "only: look at the standard deviations before comparing models."
        )


def _groups(content: ReportContent) -> Iterator[str]:
    groups = content.groups
    if groups is None:
        return
    chained = [(name, low) for name, _, low in groups.largest if low < groups.threshold - CHAINED_BY]
    if chained:
        name, lowest = min(chained, key=lambda group: group[1])
        yield (
            f"{plural(len(chained), 'group')} made by {groups.linkage} linkage "
            f"{'holds' if len(chained) == 1 else 'hold'} structures that are not alike: in {name} the smallest "
            f"correlation is {fixed(lowest, 2)}, the threshold {fixed(groups.threshold, 2)}. A right class then says "
            "little; complete or leader linkage does not chain."
        )


def _catalogue(content: ReportContent) -> Iterator[str]:
    catalogue = content.catalogue
    if catalogue is None:
        return
    total = catalogue.n_structures + catalogue.n_rejected
    if catalogue.n_rejected > REJECTED_SHARE * total:
        yield (
            f"{count(catalogue.n_rejected)} of {plural(total, 'structure')} ({percent(catalogue.n_rejected / total)}) "
            "were refused: see why before trusting that a phase is not there."
        )


def _stages(content: ReportContent) -> Iterator[str]:
    for stage in content.stages:
        if stage.failed:
            yield f"In stage {stage.name}, {plural(stage.failed, 'task')} failed: the output is missing here."
