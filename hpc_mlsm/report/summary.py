"""The paragraph at the top of a report: its key figures in plain words."""

import statistics
from collections import Counter

from markupsafe import Markup

from hpc_mlsm.evaluation.fold_files import DUMMY
from hpc_mlsm.evaluation.fold_scores import best
from hpc_mlsm.report.content import ModelScore, ReportContent
from hpc_mlsm.report.quantities import count, fixed, percent, plural
from hpc_mlsm.report.verdicts import Level, expected_rank, verdict_of


def summary_of(content: ReportContent) -> Markup:
    """One paragraph with the key figures, set in bold; says what has not been run."""
    sentences = [
        *_catalogue(content),
        *_model(content),
        *_folds(content),
        *_patterns(content),
        *_missing(content),
    ]
    return Markup(" ").join(sentences)


def _bold(text: str) -> Markup:
    return Markup("<strong>{}</strong>").format(text)


def _catalogue(content: ReportContent) -> list[Markup]:
    catalogue, groups = content.catalogue, content.groups
    found = []
    if catalogue is not None:
        refused = f", {count(catalogue.n_rejected)} refused" if catalogue.n_rejected else ""
        found.append(
            Markup("{} in the catalogue{}.").format(_bold(plural(catalogue.n_structures, "structure")), refused)
        )
    if groups is not None:
        found.append(
            Markup(
                "They form {} (patterns that correlate by {} or more share one), the largest of {} structures."
            ).format(
                _bold(plural(len(groups.sizes), "class", "classes")),
                fixed(groups.threshold, 2),
                count(max(groups.sizes, default=0)),
            )
            if catalogue is not None
            else Markup("{} of structures.").format(_bold(plural(len(groups.sizes), "class", "classes")))
        )
    return found


def _model(content: ReportContent) -> list[Markup]:
    model = content.model
    if model is None:
        return []
    text = Markup("{} names the right class first for {} of {} it has not seen{}").format(
        _bold(model.name),
        _bold(percent(model.top_k.get(1, float("nan")))),
        plural(model.n_rows, "simulated pattern"),
        _within_three(model),
    )
    others = [f"{score.name} {percent(score.top_k[1])}" for score in content.baselines if 1 in score.top_k]
    return [text + (Markup("; {}.").format(", ".join(others)) if others else Markup("."))]


def _folds(content: ReportContent) -> list[Markup]:
    """The best model of the first data set, beside the dummy."""
    if content.folds is None:
        return []
    first = [one for one in content.folds.results if one.data_set == content.folds.results[0].data_set]
    trained = [one for one in first if one.model != DUMMY]
    dummy = [one for one in first if one.model == DUMMY]
    if not trained:
        return []
    found = best(trained)
    floor = percent(dummy[0].mean_std("accuracy")[0]) if dummy else ""
    beside = f"; always naming the commonest one is right for {floor}" if floor else ""
    return [
        Markup("{} names the right crystal system for {} of the patterns of structures it has not seen{}.").format(
            _bold(found.model), _bold(percent(found.mean_std("accuracy")[0])), beside
        )
    ]


def _within_three(model: ModelScore) -> str:
    return f", among its first three for {percent(model.top_k[3])}" if 3 in model.top_k else ""


def _patterns(content: ReportContent) -> list[Markup]:
    patterns = content.patterns
    if not patterns:
        return []
    verdicts = [verdict_of(pattern) for pattern in patterns]
    levels = Counter(verdict.level for verdict in verdicts)
    words: dict[Level, str] = {
        "good": "with one clear candidate",
        "fair": "with a likely one",
        "doubt": "to be doubted",
    }
    parts = [f"{count(levels[level])} {word}" for level, word in words.items() if levels[level]]
    found = [Markup("{} classified: {}.").format(_bold(plural(len(patterns), "pattern")), ", ".join(parts))]
    fits = [fit.r_w for pattern in patterns if (fit := pattern.fit_of(1)) is not None]
    if fits:
        found.append(
            Markup("The median <i>R</i><sub>w</sub> of the first candidates is {}.").format(
                _bold(fixed(statistics.median(fits), 2))
            )
        )
    known = [expected_rank(pattern) for pattern in patterns if pattern.expected]
    if known:
        found.append(
            Markup("The sample is known for {}: it is named first for {} and among the candidates for {}.").format(
                count(len(known)), count(known.count(1)), count(sum(rank is not None for rank in known))
            )
        )
    return found


def _missing(content: ReportContent) -> list[Markup]:
    parts = {
        "ingest": content.catalogue,
        **({"group": content.groups} if content.grouped else {}),
        "train": content.training or content.networks or content.forests or None,
        "evaluate": content.scores or content.folds or None,
        "predict": content.patterns or content.rejected_patterns or content.answers_page or None,
    }
    missing = [stage for stage, part in parts.items() if part is None]
    if len(missing) == len(parts):
        return [Markup("No stage of this run has been completed yet.")]
    return [Markup("Not run yet: {}.").format(", ".join(missing))] if missing else []
