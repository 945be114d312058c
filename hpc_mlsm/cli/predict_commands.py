"""What ``predict`` does with whole archives."""

from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hpc_mlsm.cli.progress import make_listener
from hpc_mlsm.config.load import parse_config
from hpc_mlsm.config.run_config import PredictSettings
from hpc_mlsm.errors import ConfigError
from hpc_mlsm.stages import predict_archive
from hpc_mlsm.stages.context import open_run
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.structures.element_filter import ElementFilter


def predict_archive_with(
    bundle: Path, addresses: list[Path], settings: PredictSettings, overrides: list[str], out: Path | None
) -> None:
    """Predict over an archive with a bundle alone; what is made goes into ``out``, a run of its own."""
    console = Console()
    config = parse_config({"name": "predictions"}, overrides)
    config = replace(
        config, predict=replace(settings, coverage=config.predict.coverage, archive=config.predict.archive)
    )
    refuse_filter(config.predict)
    run = RunDirectory(out or Path("predictions"))
    with make_listener(console) as display, open_run(run, config, display) as context:
        print_archive(console, predict_archive.run(context, addresses, bundle))


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


def print_archive(console: Console, summary: predict_archive.ArchiveSummary) -> None:
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
