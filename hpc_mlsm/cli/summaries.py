"""What stages found, in words and tables for the terminal."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hpc_mlsm.archive.tables import candidate_table
from hpc_mlsm.evaluation.fold_files import FoldStudy
from hpc_mlsm.evaluation.fold_tables import model_tables
from hpc_mlsm.refinement.budget import BudgetPlan
from hpc_mlsm.runtime.submit import JobState
from hpc_mlsm.stages.archive_plan import ArchivePlan
from hpc_mlsm.stages.archive_report import ArchiveFiles
from hpc_mlsm.stages.decompose import DecomposeSummary
from hpc_mlsm.stages.evaluate import Evaluation
from hpc_mlsm.stages.group import GroupSummary
from hpc_mlsm.stages.ingest import IngestSummary
from hpc_mlsm.stages.networks import NetworkSummary
from hpc_mlsm.stages.plan import PlanSummary
from hpc_mlsm.stages.predict import Classified
from hpc_mlsm.stages.predict_archive import ArchiveSummary
from hpc_mlsm.stages.refine import RefineSummary
from hpc_mlsm.stages.simulate import SimulateSummary
from hpc_mlsm.stages.status import StageStatus
from hpc_mlsm.stages.train import TrainSummary
from hpc_mlsm.stages.train_powder import ForestSummary, PowderTrained

MAX_PATTERNS_SHOWN = 25
MAX_FULL_TABLES = 2


def line(stage: str, summary: Any) -> str:
    """One line on what a stage did."""
    return f"[bold]{stage}[/bold]: {_WORDS[stage](summary)}"


def archive_line(step: str, summary: Any) -> str:
    """One line on what a step of an archive run did."""
    return f"[bold]{step}[/bold]: {_ARCHIVE_WORDS[step](summary)}"


def archive_plan_table(planned: ArchivePlan) -> Table:
    """What an archive run needs, and what that rests on."""
    table = Table(box=SIMPLE_HEAD, title=f"{planned.frames} frames, {planned.workers} workers", title_justify="left")
    for head in ("step", "time", "rests on"):
        table.add_column(head)
    reading, naming = 1e3 * planned.seconds_read, 1e3 * planned.seconds_classify
    table.add_row(
        "predict",
        _duration(planned.predict_s),
        f"{reading:.3g} ms to read and {naming:.3g} ms to classify a frame, timed on {planned.timed} of them: "
        f"{planned.frames / max(planned.predict_s, 1e-9):.0f} frames/s",
    )
    table.add_row(
        "decompose", _duration(planned.decompose_s), f"frames read once more; {planned.points} points a frame"
    )
    budget = planned.budget
    words = "no frame that was looked at is worth a fit"
    if budget is not None:
        words = (
            f"{budget.fitted} frames with {_fits(budget)}, more where frames turn out worse; "
            f"{planned.with_candidates:.0%} of the frames that were looked at are worth a fit"
        )
    if planned.kind == "pdf":
        table.add_row("refine", _duration(planned.refine_s), words)
    for other in planned.offers:
        every = "every frame" if other.stride == 1 else f"one frame in {other.stride} ({other.fitted})"
        table.add_row("", "", f"refine.budget.core_hours of {other.core_hours:.2g} buy {every}: {_fits(other)}")
    table.add_row("memory", _size(planned.memory), "of the process that decomposes and writes the results")
    table.add_row("disk", _size(planned.disk), f"{_size(planned.free)} are free")
    return table


def _fits(plan: BudgetPlan) -> str:
    return f"{plan.least} fits of {1e3 * plan.seconds_per_fit:.0f} ms"


def _archive_predict(summary: ArchiveSummary) -> str:
    counts = ", ".join(f"{number} {word}" for word, number in summary.verdicts.items() if number)
    return f"{summary.frames} frames, {summary.already_there} of them before: {counts}; {summary.set_aside} set aside"


def _decompose(summary: DecomposeSummary) -> str:
    again = " (unchanged)" if summary.reused else ""
    names = ", ".join(filter(None, summary.candidates))
    asked = "" if summary.components == summary.proposed else f" ({summary.proposed} would have been proposed)"
    return (
        f"{summary.components} components{asked} of {summary.frames} frames, which they leave {summary.left:.1%} of; "
        f"first candidates: {names}{again}"
    )


def _archive_files(summary: ArchiveFiles) -> str:
    return f"{summary.report.resolve()}, {summary.result.resolve()}"


def _plan(summary: PlanSummary) -> str:
    p = summary.projection
    of_powder = [need.rank_bytes for need in summary.networks[:1]] + (
        [summary.forests.memory] if summary.forests else []
    )
    needed = max(of_powder, default=p.training.total)
    return (
        f"{p.patterns} patterns to simulate in {p.tasks} tasks on {p.workers} workers (projected: "
        f"{_duration(p.simulate_seconds)}, {_size(p.store_bytes)}); training needs {_size(needed)} of "
        f"{_size(summary.memory)} free"
    )


def _ingest(summary: IngestSummary) -> str:
    return (
        f"{summary.structures} structures in the catalogue, {summary.rejects} rejected; "
        f"{summary.files_parsed} files read, {summary.files_removed} gone; revision {summary.revision}"
        + (f", {summary.made_up} synthetic crystals made" if summary.made_up else "")
    )


def _simulate(summary: SimulateSummary) -> str:
    text = (
        f"{summary.simulated} structures simulated into {summary.shards_written} shards, "
        f"{summary.already_there} were there"
    )
    for count, what in (
        (summary.shards_adopted, "finished shards taken over from a killed run"),
        (summary.shards_damaged, "damaged shards redone"),
        (summary.quarantined, "structures set aside"),
        (summary.dropped, "withdrawn, changed or of other parameters dropped"),
        (summary.shards_compacted, "shards rewritten without them"),
    ):
        text += f", {count} {what}" if count else ""
    return text


def _group(summary: GroupSummary) -> str:
    again = " (unchanged)" if summary.reused else ""
    text = (
        f"{summary.structures} structures in {summary.groups} groups, the largest of {summary.largest}, from "
        f"{summary.edges} correlated pairs{again}"
    )
    if 0 < summary.fresh < summary.structures:
        text += f"; {summary.fresh} structures compared with all"
    if summary.proven:
        text += f"; {summary.proven / summary.pairs:.2%} of pairs excluded by bounds"
    return text + (f"; {summary.events} changes of classes" if summary.events else "")


def _train(summary: TrainSummary | NetworkSummary | ForestSummary | PowderTrained) -> str:
    if isinstance(summary, PowderTrained):
        return "; ".join(map(_train, summary.models))
    again = " (unchanged)" if summary.reused else ""
    if isinstance(summary, ForestSummary):
        return f"{summary.name} of {summary.trees} trees on {summary.train_rows} patterns{again}"
    if isinstance(summary, NetworkSummary):
        return (
            f"{summary.name} on {summary.train_rows} patterns, {summary.epochs} epochs on {summary.ranks} "
            f"rank{'s' * (summary.ranks > 1)}, best {summary.best_epoch} with validation accuracy "
            f"{summary.validation_accuracy:.1%}{again}"
        )
    again = " (the trees that were there; only trust was learned anew)" if summary.recalibrated else again
    return (
        f"{summary.classes} classes, {summary.train_rows} training patterns, {summary.rounds} rounds, best "
        f"{summary.best_round} with validation loss {summary.validation_loss:.3f}{again}"
    )


def _evaluate(evaluation: Evaluation | FoldStudy | None) -> str:
    if evaluation is None:
        return "no cross-validation wanted (classify.cross_validate)"
    if isinstance(evaluation, FoldStudy):
        return "\n" + "\n".join(table.text() for table in model_tables(evaluation.results))
    parts = [
        f"{name} " + ", ".join(f"top-{k} {share:.1%}" for k, share in scores.top_k.items())
        for name, scores in evaluation.scores.items()
    ]
    return "; ".join(parts)


def _refine(summary: RefineSummary) -> str:
    text = f"{summary.fitted} of {summary.frames} frames fitted, {summary.fits} fits"
    if np.isfinite(summary.median_r_w):
        text += f", median r_w {summary.median_r_w:.3f}"
    for count, what in (
        (summary.already_there, "frames were there"),
        (summary.refitted, "frames got a second look"),
        (summary.refused, "frames refused"),
        (summary.set_aside, "frames set aside"),
    ):
        text += f", {count} {what}" if count else ""
    return text


def _predict(classified: Classified) -> str:
    return f"{len(classified.rankings)} patterns classified, {len(classified.rejects)} set aside"


_WORDS: dict[str, Callable[[Any], str]] = {
    "plan": _plan,
    "ingest": _ingest,
    "simulate": _simulate,
    "group": _group,
    "train": _train,
    "evaluate": _evaluate,
    "predict": _predict,
    "refine": _refine,
    "report": lambda path: f"written to {Path(path).resolve()}",
}


def print_candidates(console: Console, classified: Classified) -> None:
    """All candidates of a few patterns, or the first three of each of many."""
    found = list(zip(classified.patterns, classified.rankings, strict=True))
    if len(found) <= MAX_FULL_TABLES:
        for pattern, ranking in found:
            console.print(candidate_table(ranking.candidates, title=pattern.name))
        return
    table = Table(title="Candidates and their probabilities")
    for heading in ("pattern", "first", "second", "third"):
        table.add_column(heading)
    for pattern, ranking in found[:MAX_PATTERNS_SHOWN]:
        cells = [
            f"{candidate.formula} [dim]{escape(candidate.space_group_symbol)}[/dim], {candidate.probability:.0%}"
            for candidate in ranking.candidates[:3]
        ]
        table.add_row(escape(pattern.name), *cells)
    console.print(table)
    if len(found) > MAX_PATTERNS_SHOWN:
        console.print(f"and {len(found) - MAX_PATTERNS_SHOWN} more patterns, in the tables and the report")


def plan_table(summary: PlanSummary) -> Table:
    """The projection as a table."""
    p = summary.projection
    table = Table(title="Projection")
    for heading in ("stage", "what", "needs"):
        table.add_column(heading)
    rests = f"cost model scaled by {summary.timed} structures timed here" if summary.timed else "cost model"
    table.add_row("simulate", f"{p.patterns} patterns of {p.structures} structures, {p.tasks} tasks", "")
    table.add_row("", f"wall time on {p.workers} workers ({rests})", _duration(p.simulate_seconds))
    table.add_row("", "core-hours", f"{p.simulate_seconds * p.workers / 3600:.3g}")
    table.add_row("", "memory of a worker", _size(p.simulate_memory))
    table.add_row("", "disk", _size(p.store_bytes))
    if (forests := summary.forests) is not None:
        table.add_row(
            "train", f"forests: peaks and trees on {p.workers} workers", _duration(forests.training_wall(p.workers))
        )
        table.add_row("", "memory of a worker", _size(forests.memory))
        table.add_row(
            "evaluate", f"all folds of the forests on {p.workers} workers", _duration(forests.folds_s / p.workers)
        )
    if forests is not None or summary.networks:
        return table
    table.add_row("group", f"{p.structures}² / 2 correlations, floating-point operations", f"{p.group_flops:.2g}")
    table.add_row("", "memory", _size(p.group_memory))
    classes = f"{p.classes} classes" + ("" if p.classes_known else " at most (groups are not known yet)")
    table.add_row("train", f"{classes}: gradients", _size(p.training.gradients))
    table.add_row("", "margins, binned patterns, histograms, trees", _size(p.training.total - p.training.gradients))
    table.add_row("", f"all of it, of {_size(summary.memory)} free", _size(p.training.total))
    table.add_row("", f"time of one boosting round on {p.workers} cores", _duration(p.train_seconds_per_round))
    return table


def status_table(stages: list[StageStatus], run: Path) -> Table:
    """The state of every stage as a table."""
    table = Table(title=str(run))
    for heading in ("stage", "state", "detail"):
        table.add_column(heading)
    colours = {"done": "green", "partly": "yellow", "outdated": "yellow", "unusable": "red"}
    for stage in stages:
        colour = colours.get(stage.state, "dim")
        table.add_row(stage.stage, f"[{colour}]{stage.state}[/{colour}]", stage.detail)
    return table


def jobs_table(states: list[JobState]) -> Table:
    """The jobs that were submitted for a run as a table."""
    table = Table(title="Jobs")
    for heading in ("stage", "job", "state", "where or why", "log"):
        table.add_column(heading)
    for one in states:
        table.add_row(
            one.job.stage, one.job.job_id, one.state.lower(), escape(one.detail), escape(Path(one.job.log).name)
        )
    return table


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "< 1 s" if seconds > 0 else "nothing"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _size(number: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number / 1e3:.0f} kB"


_ARCHIVE_WORDS: dict[str, Callable[[Any], str]] = {
    "predict": _archive_predict,
    "decompose": _decompose,
    "refine": _refine,
    "report": _archive_files,
}
