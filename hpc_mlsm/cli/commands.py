"""What the commands do: resolve the run, call stages, print what they found."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from hpc_mlsm.archive.frames import ArchiveKind
from hpc_mlsm.archive.opening import is_archive
from hpc_mlsm.cli import powder_commands, summaries
from hpc_mlsm.cli.predict_commands import predict_archive_with, predict_powder_run, print_archive, refuse_filter
from hpc_mlsm.cli.run_in_use import opened
from hpc_mlsm.config.load import parse_config
from hpc_mlsm.config.run_config import PredictSettings
from hpc_mlsm.errors import ConfigError, HpcMlsmError, PlanError
from hpc_mlsm.models.bundle import MANIFEST, load_bundle
from hpc_mlsm.models.powder_models import is_powder_bundle
from hpc_mlsm.runtime.signals import RESUME_STATUS, Interrupted
from hpc_mlsm.stages import (
    archive,
    evaluate,
    group,
    ingest,
    networks,
    plan,
    predict,
    predict_archive,
    report,
    simulate,
    train,
    train_powder,
)
from hpc_mlsm.stages.context import RunContext
from hpc_mlsm.stages.network_data import networks_of
from hpc_mlsm.stages.run_directory import resolve
from hpc_mlsm.stages.submit import stages_of
from hpc_mlsm.structures.element_filter import ElementFilter

STAGES: dict[str, Callable[[RunContext], Any]] = {
    "ingest": ingest.run,
    "simulate": simulate.run,
    "group": group.run,
    "train": train.run,
    "evaluate": evaluate.run,
    "report": report.run,
}


def exit_status(error: HpcMlsmError) -> int:
    """1 for an error, 75 where running the same command again goes on from what is there."""
    return RESUME_STATUS if isinstance(error, Interrupted) else 1


@contextmanager
def _opened(target: Path, run: Path | None, overrides: list[str]) -> Iterator[tuple[RunContext, Console]]:
    directory, config = resolve(target, run, overrides)
    with opened(directory, config) as (context, console):
        yield context, console


def run_stage(name: str, target: Path, run: Path | None, overrides: list[str]) -> None:
    """Run one stage and print what it did; on several ranks, train a network with all of them."""
    if name == "train":
        directory, config = resolve(target, run, overrides)
        if config.networks and networks.is_helper(config.executor):
            for data, settings in networks_of(directory, config):
                networks.help_training(directory.path, config.executor, data, settings)
            return
    with _opened(target, run, overrides) as (context, console):
        if name == "report" and context.config.predict.model is not None:
            console.print(summaries.archive_line(name, archive.run_step(context, name)), soft_wrap=True)
            return
        console.print(summaries.line(name, STAGES[name](context)), soft_wrap=True)


def run_all(target: Path, run: Path | None, overrides: list[str]) -> None:
    """Run all stages in order and print what each did; end with the report."""
    start = time.monotonic()
    with _opened(target, run, overrides) as (context, console):
        planned = plan.run(context, timed=0)
        if planned.refusal:
            raise PlanError(planned.refusal)
        console.print(summaries.line("plan", planned), soft_wrap=True)
        train_powder.refuse_missing_packages(context.config)
        for name in (one for one in stages_of(context.config) if one not in ("predict", "report")):
            console.print(summaries.line(name, STAGES[name](context)), soft_wrap=True)
        settings = context.config.predict
        classified = None
        if settings.patterns and context.config.simulate.kind == "powder":
            predict_powder_run(context, console)
        elif settings.patterns or settings.samples:
            classified = predict.run(context)
            console.print(summaries.line("predict", classified), soft_wrap=True)
            summaries.print_candidates(console, classified)
        path = report.run(context, classified)
    console.print(f"finished in {time.monotonic() - start:.0f} s", highlight=False)
    console.print(f"report: {path.resolve()}", soft_wrap=True, highlight=False)


def predict_patterns(
    target: Path,
    patterns: list[Path],
    run: Path | None,
    overrides: list[str],
    filters: dict[str, str],
    top: int | None,
    out: Path | None,
    powder: dict[str, Any],
) -> None:
    """Classify patterns with the models of a run, or with a bundle alone, and print and write the answers."""
    kind: ArchiveKind = "powder" if is_powder_bundle(target) else "pdf"
    bundle = kind == "powder" or (target / MANIFEST).is_file()
    if bundle and is_archive(patterns, kind):
        settings = _with_options(PredictSettings(), patterns, filters, top)
        predict_archive_with(target, patterns, settings, overrides, out, powder)
        return
    if kind == "powder":
        given = parse_config({"name": "predictions"}, overrides).predict.powder
        powder_commands.predict_with_bundle(target, patterns, powder_commands.with_options(given, powder), out)
        return
    if bundle:
        _predict_with_bundle(target, patterns, filters, top, out)
        return
    with _opened(target, run, overrides) as (context, console):
        settings = _with_options(context.config.predict, patterns, filters, top)
        settings = replace(settings, powder=powder_commands.with_options(settings.powder, powder))
        context.config = replace(context.config, predict=settings)
        if context.config.simulate.kind == "powder":
            predict_powder_run(context, console, out)
            return
        if is_archive(settings.patterns, "pdf"):
            refuse_filter(settings)
            print_archive(console, predict_archive.run(context, settings.patterns, folder=out))
            return
        classified = predict.run(context, out)
        console.print(summaries.line("predict", classified), soft_wrap=True)
        summaries.print_candidates(console, classified)
        console.print(f"report: {report.run(context, classified, out).resolve()}", soft_wrap=True, highlight=False)
    _refuse_empty(classified)


def _predict_with_bundle(
    folder: Path, patterns: list[Path], filters: dict[str, str], top: int | None, out: Path | None
) -> None:
    console = Console()
    settings = _with_options(PredictSettings(), patterns, filters, top)
    if not patterns:
        raise ConfigError("name the pattern files or folders to classify")
    bundle = load_bundle(folder)
    classified = predict.classify(bundle, settings.patterns, settings)
    tables = out or Path("predictions")
    predict.write_tables(classified, tables, bundle, folder)
    console.print(summaries.line("predict", classified), soft_wrap=True)
    summaries.print_candidates(console, classified)
    console.print(f"tables: {tables.resolve()}", soft_wrap=True, highlight=False)
    _refuse_empty(classified)


def _refuse_empty(classified: predict.Classified) -> None:
    if not classified.rankings:
        first = classified.rejects[0].detail if classified.rejects else "no pattern was found"
        raise ConfigError(f"no pattern could be classified; the first: {first}")


def _with_options(
    settings: PredictSettings, patterns: list[Path], filters: dict[str, str], top: int | None
) -> PredictSettings:
    if patterns:
        settings = replace(settings, patterns=tuple(patterns), samples=0)
    if any(filters.values()):
        words = {name: frozenset(_split(text)) for name, text in filters.items()}
        numbers = words.pop("space_groups")
        wrong = sorted(word for word in numbers if not word.isdigit())
        if wrong:
            raise ConfigError(
                f"--space-groups: {wrong[0]!r} is no number; write numbers from 1 to 230, such as 225,227"
            )
        chosen = ElementFilter(**words, space_groups=frozenset(map(int, numbers)))
        settings = replace(settings, filter=chosen)
    return replace(settings, top_k=top) if top else settings


def _split(text: str) -> list[str]:
    return [word.strip() for word in text.replace(" ", ",").split(",") if word.strip()]
