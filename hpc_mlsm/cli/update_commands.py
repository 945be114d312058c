"""The command ``update``: what it prints."""

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hpc_mlsm.cli.run_in_use import opened
from hpc_mlsm.plan.words import duration
from hpc_mlsm.stages import update
from hpc_mlsm.stages.run_directory import resolve
from hpc_mlsm.stages.update import UpdateSummary
from hpc_mlsm.stages.update_record import UpdateRecord

MOST_ROWS = 20
MOST_IDS = 6


def update_run(target: Path, run: Path | None, overrides: list[str]) -> None:
    """Update a run and print what is different."""
    directory, config = resolve(target, run, overrides)
    with opened(directory, config) as (context, console):
        summary = update.run(context)
        if summary.path is None:
            console.print("[bold]update[/bold]: nothing has changed")
        else:
            print_update(console, summary)


def print_update(console: Console, summary: UpdateSummary) -> None:
    """What an update did, as a few tables."""
    record = summary.record
    console.print(structure_table(record))
    console.print(class_table(record))
    if record.before is not None and record.after is not None:
        console.print(score_table(record))
    if record.frames:
        changed = len({(one.predictions, one.frame) for one in record.answers})
        console.print(f"{changed} of {record.frames} stored frames now get another answer")
    if record.answers:
        console.print(answer_table(record))
    how = f"went on from {record.warm_rounds} rounds" if record.warm_rounds else "began anew"
    training = f"training {how}" if summary.retrained else "the model is as before"
    times = ", ".join(f"{name} {duration(seconds)}" for name, seconds in record.seconds.items())
    console.print(
        f"[bold]update {record.number}[/bold]: {summary.simulated} structures simulated, {summary.compared} pairs "
        f"compared, {training}; {times}",
        soft_wrap=True,
    )
    console.print(f"record: {summary.path}", soft_wrap=True, highlight=False)


def structure_table(record: UpdateRecord) -> Table:
    """How many structures came, changed, went and were refused, and the first of them."""
    table = Table(title="Structures", box=SIMPLE_HEAD)
    for heading in ("what", "how many", "which"):
        table.add_column(heading)
    changes = record.changes
    rejected, refused = ([f"{key} ({why})" for key, why in one] for one in (changes.rejected, changes.refused))
    for name, ids in (
        ("added", (*changes.added, *changes.accepted)),
        ("changed", changes.changed),
        ("withdrawn", changes.withdrawn),
        ("refused, and were there", rejected),
        ("refused, and are new", refused),
    ):
        table.add_row(name, str(len(ids)), _some(ids))
    return table


def class_table(record: UpdateRecord) -> Table:
    """What became of classes."""
    table = Table(title="Classes", box=SIMPLE_HEAD)
    for heading in ("what", "how many", "which"):
        table.add_column(heading)
    if record.before is not None:
        table.add_row("before", str(record.before.classes), "")
    for name in ("added", "split", "merged", "retired", "moved"):
        own = [event["class_id"] for event in record.events if event["event"] == name]
        if own:
            table.add_row(name, str(len(own)), _some(own))
    if record.after is not None:
        table.add_row("now", str(record.after.classes), "")
    return table


def score_table(record: UpdateRecord) -> Table:
    """Accuracy before and after."""
    table = Table(title="Accuracy on patterns that were kept back", box=SIMPLE_HEAD)
    for heading in ("model", "candidates", "before", "now"):
        table.add_column(heading)
    before = record.before.top_k if record.before else {}
    for name, now in (record.after.top_k if record.after else {}).items():
        for k, share in now.items():
            then = before.get(name, {}).get(k)
            table.add_row(name, k, "not evaluated" if then is None else f"{then:.1%}", f"{share:.1%}")
    return table


def answer_table(record: UpdateRecord) -> Table:
    """Frames that now get another answer."""
    table = Table(title="Other answers", box=SIMPLE_HEAD)
    for heading in ("frame", "before", "now"):
        table.add_column(heading)
    for one in record.answers[:MOST_ROWS]:
        frame = Path(one.frame).name + (f" ({one.model})" if one.model else "")
        then = f"{one.formula_before or one.class_before or 'none'}, {one.probability_before:.0%}"
        table.add_row(escape(frame), then, f"{one.formula_now or one.class_now}, {one.probability_now:.0%}")
    if len(record.answers) > MOST_ROWS:
        table.add_row(f"and {len(record.answers) - MOST_ROWS} more, in the record", "", "")
    return table


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - MOST_IDS} more" if len(ids) > MOST_IDS else ""
    return escape(", ".join(ids[:MOST_IDS]) + more)
