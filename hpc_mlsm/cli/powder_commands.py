"""Prediction of powder patterns on the command line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from hpc_mlsm.archive.powder_settings import MeasuredPowderSettings
from hpc_mlsm.archive.powder_tables import answer_table
from hpc_mlsm.config.load import parse_settings, plain
from hpc_mlsm.errors import ConfigError
from hpc_mlsm.models.powder_models import load_powder_model
from hpc_mlsm.stages import predict_powder
from hpc_mlsm.stages.predict_powder import PowderClassified

MAX_PATTERNS_SHOWN = 25


def with_options(settings: MeasuredPowderSettings, options: Mapping[str, Any]) -> MeasuredPowderSettings:
    """Settings with the options of the command line that were given.

    Raises
    ------
    ConfigError
        If a value is not allowed.
    """
    given = {name: value for name, value in options.items() if value is not None}
    return parse_settings(plain(settings) | given, MeasuredPowderSettings, "options") if given else settings


def predict_with_bundle(folder: Path, patterns: list[Path], settings: MeasuredPowderSettings, out: Path | None) -> None:
    """Ask the one model in a folder about patterns; print and write the answers."""
    if not patterns:
        raise ConfigError("name the pattern files or folders to classify")
    console = Console()
    classified = predict_powder.classify((load_powder_model(folder),), patterns, settings)
    page = predict_powder.write_results(classified, out or Path("predictions"), str(folder))
    print_answers(console, classified, page)


def print_answers(console: Console, classified: PowderClassified, page: Path) -> None:
    """The table of answers, what got none, and where the page is.

    Raises
    ------
    ConfigError
        If no pattern got an answer.
    """
    answers, rejects = classified.answers, classified.rejects
    console.print(f"[bold]predict[/bold]: {len(answers)} patterns classified, {len(rejects)} set aside")
    if answers:
        console.print(answer_table(classified.models, answers[:MAX_PATTERNS_SHOWN]))
    if len(answers) > MAX_PATTERNS_SHOWN:
        console.print(f"and {len(answers) - MAX_PATTERNS_SHOWN} more patterns, in the tables and the page")
    for reject in rejects[:MAX_PATTERNS_SHOWN]:
        console.print(f"not answered ({reject.reason}): {reject.detail}", soft_wrap=True, highlight=False, markup=False)
    console.print(f"page: {page.resolve()}", soft_wrap=True, highlight=False)
    if not answers:
        raise ConfigError(f"no pattern could be classified; the first: {rejects[0].detail}")
