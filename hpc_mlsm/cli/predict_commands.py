"""What ``predict`` does with whole archives."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hpc_mlsm.archive.opening import is_archive
from hpc_mlsm.cli.powder_commands import print_answers, with_options
from hpc_mlsm.cli.progress import make_listener
from hpc_mlsm.config.load import parse_config
from hpc_mlsm.config.run_config import PredictSettings
from hpc_mlsm.errors import ConfigError
from hpc_mlsm.models.powder_models import is_powder_bundle
from hpc_mlsm.stages import predict_archive, predict_powder, predict_powder_archive
from hpc_mlsm.stages.context import RunContext, open_run
from hpc_mlsm.stages.predict_archive import ArchiveSummary
from hpc_mlsm.stages.predict_powder_archive import PowderArchive
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.structures.element_filter import ElementFilter


def predict_archive_with(
    bundle: Path,
    addresses: list[Path],
    settings: PredictSettings,
    overrides: list[str],
    out: Path | None,
    powder: Mapping[str, Any],
) -> None:
    """Predict over an archive with a bundle alone; what is made goes into ``out``, a run of its own."""
    console = Console()
    config = parse_config({"name": "predictions"}, overrides)
    given = config.predict
    settings = replace(
        settings, coverage=given.coverage, archive=given.archive, powder=with_options(given.powder, powder)
    )
    config = replace(config, predict=settings)
    refuse_filter(settings)
    run = RunDirectory(out or Path("predictions"))
    with make_listener(console) as display, open_run(run, config, display) as context:
        if is_powder_bundle(bundle):
            print_powder_archive(console, predict_powder_archive.predict_with(context, addresses, [bundle]))
        else:
            print_archive(console, predict_archive.run(context, addresses, bundle))


def predict_powder_run(context: RunContext, console: Console, out: Path | None = None) -> None:
    """Ask all models of a run about the configured patterns, one by one or as an archive, and print the answers."""
    addresses = context.config.predict.patterns
    if is_archive(addresses, "powder"):
        print_powder_archive(console, predict_powder_archive.run(context, addresses, out))
        return
    answered = predict_powder.run(context, out)
    print_answers(console, answered, (out or context.run.predictions) / predict_powder.PAGE)


def refuse_filter(settings: PredictSettings) -> None:
    """What is known of a sample cannot be used over archives, whose samples change.

    Raises
    ------
    ConfigError
        If there is a filter.
    """
    if settings.filter != ElementFilter():
        raise ConfigError(
            f"a filter ({settings.filter.describe()}) is for a few patterns; over an archive, leave it out and look at "
            "the candidates"
        )


def print_archive(console: Console, summary: ArchiveSummary) -> None:
    """Frames by verdict, and where the predictions are."""
    table = Table(title=f"{summary.frames} frames, {summary.already_there} of them predicted before")
    table.add_column("verdict")
    table.add_column("frames", justify="right")
    for name, count in {**summary.verdicts, "set aside": summary.set_aside, "duplicates": summary.duplicates}.items():
        table.add_row(name, str(count))
    console.print(table)
    for note in summary.notes:
        console.print(note, soft_wrap=True, highlight=False)
    console.print(f"predictions: {summary.folder}", soft_wrap=True, highlight=False)


def print_powder_archive(console: Console, predicted: PowderArchive) -> None:
    """Frames by crystal system, as each model sees them, and where the table is."""
    found = predicted.summaries
    first = next(iter(found.values()))
    before = ", ".join(f"{one.already_there} predicted before by {name}" for name, one in found.items())
    table = Table(title=f"{first.frames} frames, {before}", caption=_calibration(found))
    table.add_column("frames that are called")
    for name in found:
        table.add_column(escape(name), justify="right")
    for system in dict.fromkeys(system for one in found.values() for system in one.systems):
        table.add_row(system, *(str(one.systems.get(system, 0)) for one in found.values()))
    table.add_row("set aside", *(str(one.set_aside) for one in found.values()))
    table.add_row("duplicates", *(str(one.duplicates) for one in found.values()))
    console.print(table)
    if len(found) > 1:
        console.print(f"all models agree on {predicted.agreed} of {first.frames} frames", highlight=False)
    for note in first.notes:
        console.print(note, soft_wrap=True, highlight=False)
    console.print(f"frames: {predicted.table}", soft_wrap=True, highlight=False)


def _calibration(found: Mapping[str, ArchiveSummary]) -> str | None:
    votes = [name for name, one in found.items() if not one.calibrated]
    return f"Probabilities of {', '.join(votes)} are shares of votes, not calibrated" if votes else None
