"""What the answer for one measured pattern is worth: a word for it, and the reasons to doubt it."""

from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from hpc_mlsm.archive.candidates import Candidate
from hpc_mlsm.report.content import PatternResult
from hpc_mlsm.report.notation import composition_of, formula_html
from hpc_mlsm.report.quantities import fixed, percent

LOW_PROBABILITY = 0.3
CLEAR_PROBABILITY = 0.9
POOR_R_W = 0.5
"""Above this R_w a curve misses more of the pattern than a related structure would."""

BETTER_R_W = 0.85
"""A lower-ranked candidate whose R_w is below this fraction of the first one's fits clearly better."""

EQUAL_R_W = 1.05
"""A lower-ranked candidate whose R_w is below this multiple of the first one's fits as well."""

BETTER_CORRELATION = 0.05
REMOVED_PROBABILITY = 0.5

R_W = Markup("<i>R</i><sub>w</sub>")
Code = Literal[
    "not_expected",
    "outside",
    "amorphous",
    "low_confidence",
    "poor_fit",
    "better_fit",
    "baseline_differs",
    "filtered",
    "equal_fit",
]
Level = Literal["good", "fair", "doubt"]
WORDS: dict[Code, str] = {
    "not_expected": "not as expected",
    "outside": "outside the catalogue",
    "amorphous": "amorphous or noise",
    "low_confidence": "low confidence",
    "poor_fit": "poor fit",
    "better_fit": "another fits better",
    "baseline_differs": "neighbour disagrees",
    "filtered": "filter removed the likeliest",
    "equal_fit": "others fit as well",
}
CAUTIONS: frozenset[Code] = frozenset({"equal_fit"})
"""Reasons that speak against certainty, and not against the answer."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason to doubt an answer: a stable code and a sentence."""

    code: Code
    text: Markup


@dataclass(frozen=True, slots=True)
class Verdict:
    """A word on the first candidate, how good that is, and the reasons for doubt, the gravest first."""

    word: str
    level: Level
    reasons: tuple[Reason, ...] = ()


def verdict_of(pattern: PatternResult) -> Verdict:
    """Judge the candidates of a pattern by probability, fit, nearest neighbour, filter and what is known of it."""
    reasons = reasons_of(pattern)
    if reasons:
        level: Level = "fair" if reasons[0].code in CAUTIONS else "doubt"
        return Verdict(WORDS[reasons[0].code], level, reasons)
    if not pattern.ranking.candidates:
        return Verdict("no candidate", "doubt")
    if pattern.judgement == "several":
        return Verdict("several candidates", "fair")
    if pattern.judgement == "confident" or pattern.ranking.candidates[0].probability >= CLEAR_PROBABILITY:
        return Verdict("one clear candidate", "good")
    return Verdict("likely", "fair")


def reasons_of(pattern: PatternResult) -> tuple[Reason, ...]:
    """Reasons to doubt the first candidate of a pattern, the gravest first."""
    if not pattern.ranking.candidates:
        return ()
    found = (
        _expectation(pattern),
        _judgement(pattern),
        _confidence(pattern),
        _fit(pattern),
        _better_fit(pattern),
        _baseline(pattern),
        _filter(pattern),
        _equal_fit(pattern),
    )
    return tuple(reason for reason in found if reason is not None)


def expected_rank(pattern: PatternResult) -> int | None:
    """Rank of the first candidate that is what the sample is known to be; None if none is, or nothing is known.

    Formulae are compared by composition, so that the order of the elements does not matter; otherwise a structure
    id or a name has to be the same.
    """
    if not pattern.expected:
        return None
    return next((c.rank for c in pattern.ranking.candidates if _is(c, pattern.expected)), None)


def _is(candidate: Candidate, expected: str) -> bool:
    wanted = composition_of(expected)
    formulae = [candidate.formula, *(other.split(" (")[0] for other in candidate.others)]
    if wanted is not None and any(composition_of(formula) == wanted for formula in formulae):
        return True
    return expected.casefold() in {name.casefold() for name in (candidate.name, *candidate.structure_ids)}


def _expectation(pattern: PatternResult) -> Reason | None:
    if not pattern.expected:
        return None
    rank = expected_rank(pattern)
    if rank == 1:
        return None
    n = len(pattern.ranking.candidates)
    place = f"is in place {rank}" if rank else f"is not among the {n} candidates"
    text = Markup("The sample is said to be {}, which {}.").format(formula_html(pattern.expected), place)
    return Reason("not_expected", text)


def _judgement(pattern: PatternResult) -> Reason | None:
    """What the model's bundle learned to doubt; see ``models.trust``."""
    if pattern.judgement == "outside":
        return Reason("outside", Markup("The curve resembles no structure of the catalogue: a candidate is a guess."))
    if pattern.judgement == "amorphous":
        return Reason("amorphous", Markup("The curve looks like noise or an amorphous sample, not like a crystal."))
    return None


def _confidence(pattern: PatternResult) -> Reason | None:
    best = pattern.ranking.candidates[0].probability
    if best >= LOW_PROBABILITY:
        return None
    text = "The best probability is only {}: there are several candidates, or none that the model knows."
    return Reason("low_confidence", Markup(text).format(percent(best)))


def _fit(pattern: PatternResult) -> Reason | None:
    fits = [fit.r_w for _, fit in pattern.ranked_fits]
    if not fits or min(fits) <= POOR_R_W:
        return None
    text = (
        "No candidate that was fitted describes the curve (smallest {} {}): the structure may not be in the "
        "catalogue, or the sample is not one phase."
    )
    return Reason("poor_fit", Markup(text).format(R_W, fixed(min(fits))))


def _better_fit(pattern: PatternResult) -> Reason | None:
    first = pattern.fit_of(1)
    if first is None:
        return None
    rank, best = min(pattern.ranked_fits, key=lambda ranked: ranked[1].r_w)
    if best.r_w >= BETTER_R_W * first.r_w:
        return None
    text = "Candidate {} fits better than candidate 1: {} {} against {}."
    return Reason("better_fit", Markup(text).format(rank, R_W, fixed(best.r_w), fixed(first.r_w)))


def _baseline(pattern: PatternResult) -> Reason | None:
    candidates = pattern.ranking.candidates
    nearest = max(candidates, key=lambda c: c.correlation if c.correlation == c.correlation else -2.0)
    if not nearest.correlation > candidates[0].correlation + BETTER_CORRELATION:
        return None
    text = "The nearest neighbour prefers candidate {}: correlation {} against {}."
    numbers = fixed(nearest.correlation), fixed(candidates[0].correlation)
    return Reason("baseline_differs", Markup(text).format(nearest.rank, *numbers))


def _filter(pattern: PatternResult) -> Reason | None:
    removed = pattern.ranking.removed_probability
    if removed <= REMOVED_PROBABILITY:
        return None
    text = "The filter took {} of the probability away: the model sees the pattern elsewhere."
    return Reason("filtered", Markup(text).format(percent(removed)))


def _equal_fit(pattern: PatternResult) -> Reason | None:
    first = pattern.fit_of(1)
    if first is None or first.r_w > POOR_R_W:
        return None
    equal = [
        (rank, fit)
        for rank, fit in pattern.ranked_fits
        if rank != 1 and BETTER_R_W * first.r_w <= fit.r_w <= EQUAL_R_W * first.r_w
    ]
    if not equal:
        return None
    others = Markup(" and ").join(Markup("{} ({})").format(rank, fixed(fit.r_w)) for rank, fit in equal)
    text = "The curve alone does not tell candidate 1 ({} {}) from {}; knowing the composition may."
    return Reason("equal_fit", Markup(text).format(R_W, fixed(first.r_w), others))
