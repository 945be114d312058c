"""What doctor and plan say of a site, for the terminal."""

import math
import time

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from hpc_mlsm.plan.refusals import available
from hpc_mlsm.plan.stages import StageNeed
from hpc_mlsm.plan.words import duration, size
from hpc_mlsm.runtime.probes.finding import Finding
from hpc_mlsm.stages.site_plan import SCALED, SitePlan
from hpc_mlsm.stages.throughput import StageProgress

_COLOURS = {"ok": "green", "warning": "yellow", "failure": "bold red", "not asked for": "dim"}
_WORDS = {"not asked for": "–"}
CHECK_WIDTH = 25


class FindingsPrinter:
    """Prints findings as they come, under the node that they are about: verdict, check, figure, and what to do."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.where = ""
        self.counts: dict[str, int] = {}

    def __call__(self, finding: Finding) -> None:
        """Print one."""
        if finding.where != self.where:
            self.where = finding.where
            self.console.print(f"[bold]{escape(finding.where)}[/bold]", highlight=False)
        self.counts[finding.verdict] = self.counts.get(finding.verdict, 0) + 1
        row = Table.grid(padding=(0, 1))
        row.add_column(width=9)
        row.add_column(width=CHECK_WIDTH)
        row.add_column(overflow="fold")
        words = _WORDS.get(finding.verdict, finding.verdict)
        told = Text(finding.figure)
        if finding.verdict == "not asked for":
            told = Text(f"not asked for: {finding.figure}", style="dim")
        if finding.remedy and finding.verdict != "ok":
            told.append(f"\n→ {finding.remedy}", style="bold")
        row.add_row(Text(f"  {words}", style=_COLOURS[finding.verdict]), Text(finding.check), told)
        self.console.print(row)

    def end(self) -> None:
        """How many of each there were."""
        parts = [f"{self.counts.get(verdict, 0)} {word}" for verdict, word in _COUNTED]
        self.console.print(", ".join(parts), highlight=False)


_COUNTED = (("ok", "ok"), ("warning", "warnings"), ("failure", "failures"), ("not asked for", "not asked for"))


def print_plan(console: Console, found: SitePlan, site: str) -> None:
    """The plan of a run on a site: each stage as it is there, the scaled ones on more nodes, and what that rests on."""
    console.print(_needs_table(found, site))
    console.print(_nodes_table(found))
    what = found.what
    classes = f"{what.classes} classes" + ("" if what.classes_known else " at most (groups are not known yet)")
    training = next((need for need in found.needs if need.stage == "train"), None)
    lines = [
        f"{what.structures} structures, {what.patterns} patterns to simulate, {classes}",
        f"disk: {size(sum(need.disk for need in found.needs))} of {size(found.free_bytes)} free, the model in it at "
        f"most {size(what.model_bytes)}",
    ]
    if training is not None and what.network is not None:
        lines.append(f"training: each of {training.workers} ranks needs {size(training.memory_each)}")
    elif training is not None and what.forests:
        lines.append(f"training: forests; each of {training.workers} workers needs {size(training.memory_each)}")
    elif training is not None:
        parts = what.training(training.workers)
        each = f"each of {training.workers} workers" if training.workers > 1 else "one process"
        lines.append(
            f"training: {each} needs {size(training.memory_each)}, of it gradients {size(parts.gradients)}, margins "
            f"{size(parts.margins)}, binned patterns {size(parts.binned)}, histograms {size(parts.histograms)}"
        )
    lines.append(
        f"simulation: as fast as this machine, {found.speed:.2g} × the cost model by {found.timed} structures timed "
        "here; compute nodes may differ"
        if found.timed
        else "simulation: times of the cost model"
    )
    if what.forests:
        folds = f", {what.folds} folds" if what.folds else ""
        lines.append(f"peaks, trees{folds}: rates measured on one core, see hpc_mlsm/plan/forests.py")
    lines.append(
        "training, grouping: rates of docs/performance.md, 1 GB/s between nodes; all rounds, though fewer may do"
    )
    lines += [
        f"{need.stage}: its workers wait in the queue while its own job runs; the walltime has to hold that as well"
        for need in found.needs
        if need.shape.executor == "slurm"
    ]
    for line in lines:
        console.print(line, highlight=False)


def _needs_table(found: SitePlan, site: str) -> Table:
    table = _table(
        f"On {site}", ("stage", "job"), ("tasks", "workers", "memory each", "wall time", "requeues", "core-h")
    )
    for need in found.needs:
        shape = need.shape
        job = f"{shape.executor} {shape.nodes}×{shape.tasks_per_node}×{shape.cpus_per_task}"
        if not need.measured:
            table.add_row(need.stage, job, "", "", "", f"? of {duration(shape.usable_s)}", "", "")
            continue
        table.add_row(
            need.stage,
            job,
            str(need.tasks),
            str(need.workers),
            _of_available(need),
            f"{duration(need.seconds)} of {duration(shape.usable_s)}",
            _requeues(need),
            _hours(need.core_hours),
        )
    table.caption = "job: executor, nodes × tasks × cores. wall time: of the walltime, less the notice before it"
    return table


def _of_available(need: StageNeed) -> str:
    there = available(need)
    return size(need.memory_each) + ("" if math.isinf(there) else f" of {size(there)}")


def _nodes_table(found: SitePlan) -> Table:
    numbers = ("nodes", "workers", "memory each", "wall time", "requeues", "core-h")
    table = _table("On other numbers of nodes", ("stage",), numbers)
    for place, name in enumerate(SCALED):
        for count, needs in found.at_nodes:
            need = needs[place]
            table.add_row(
                name,
                str(count),
                str(need.workers),
                _of_available(need),
                duration(need.seconds),
                _requeues(need),
                _hours(need.core_hours),
                end_section=count == found.at_nodes[-1][0],
            )
    return table


def _table(title: str, texts: tuple[str, ...], numbers: tuple[str, ...]) -> Table:
    table = Table(title=escape(title), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title_justify="left")
    table.caption_justify = "left"
    for heading in texts:
        table.add_column(heading, no_wrap=True)
    for heading in numbers:
        table.add_column(heading, justify="right")
    return table


def _requeues(need: StageNeed) -> str:
    return str(need.requeues) if need.requeues else "–"


def _hours(hours: float) -> str:
    return f"{hours:.0f}" if hours >= 100 else f"{hours:.2g}"


def progress_line(stage: StageProgress) -> str:
    """How far a stage is, how fast, and when it ends."""
    clock = "%H:%M:%S"
    words = [
        f"[bold]{stage.stage}[/bold]: {stage.tasks_done} of {stage.n_tasks} tasks",
        f"{stage.units_done} of {stage.n_units} {stage.units}",
    ]
    if stage.tasks_failed:
        words.append(f"{stage.tasks_failed} failed")
    if stage.rate:
        pace = f"{stage.rate:.3g} {stage.units}/s" if stage.rate >= 0.1 else f"{1 / stage.rate:.0f} s for 1 of them"
        words.append(f"{pace} of late")
    if stage.ends is not None and stage.units_done < stage.n_units:
        words.append(f"projected end {time.strftime('%F %H:%M', time.localtime(stage.ends))}")
    words.append(f"begun {time.strftime('%F ' + clock, time.localtime(stage.started))}")
    words.append(f"last event {time.strftime(clock, time.localtime(stage.last))}")
    return ", ".join(words)
