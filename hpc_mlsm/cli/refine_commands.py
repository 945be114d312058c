"""The command ``refine``: a run's predicted structures, or named ones, against measured patterns."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hpc_mlsm.cli import summaries
from hpc_mlsm.cli.run_in_use import opened
from hpc_mlsm.config.load import parse_config
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.errors import ConfigError, StructureError
from hpc_mlsm.plan.words import duration
from hpc_mlsm.refinement.budget import BudgetPlan
from hpc_mlsm.refinement.cell import NAMES as CELL_NAMES
from hpc_mlsm.refinement.gathered import GatheredFits, gather
from hpc_mlsm.refinement.series import Series, read_series, write_series
from hpc_mlsm.report.quantities import with_uncertainty
from hpc_mlsm.report.refinement_figure import save_fit, save_parameters
from hpc_mlsm.stages import archive, refine
from hpc_mlsm.stages.archive_input import predictions_folder
from hpc_mlsm.stages.context import RunContext
from hpc_mlsm.stages.predict_archive import INDEX
from hpc_mlsm.stages.refine_input import SeriesInput, series_of_files, series_of_run
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.structures.cif import read_cif
from hpc_mlsm.structures.structure import Reject, Structure

MOST_FIGURES = 6
MOST_ROWS = 40
MOST_COLUMNS = 3


def refine_patterns(
    targets: list[str], structures: list[Path], run: Path | None, overrides: list[str], plan_only: bool
) -> None:
    """Refine the candidates of a run, or given structures against given patterns; print and write what came out."""
    console = Console()
    if structures:
        config = parse_config({"executor": {"kind": "inline"}}, overrides)
        directory = RunDirectory(run or Path("runs") / "refine")
        made = _of_files(targets, structures, config)
    elif len(targets) == 1 and Path(targets[0]).is_dir():
        directory = RunDirectory(Path(targets[0]))
        config = directory.load(overrides)
        made = _of_run(directory, config)
    else:
        raise ConfigError("name a run, or pattern files together with --structure CIF")
    if plan_only:
        console.print(plan_text(refine.budget_of(made.series, config.refine), config), soft_wrap=True)
        return
    with opened(directory, config) as (context, console):
        write_series(directory.refinement / refine.SERIES, made.series)
        for reject in made.rejects:
            name = made.series.names[reject.frame]
            context.set_aside(refine.STAGE, Reject(name, name, reject.reason, reject.detail))
        summary = refine.run(context)
        console.print(summaries.line("refine", summary), soft_wrap=True)
        _show(console, context, made.series)


def plan_text(plan: BudgetPlan, config: RunConfig) -> str:
    """What a budget buys, in words."""
    fitted = f"{plan.fitted} frames" + (f", every {plan.stride}th of a chain" if plan.stride > 1 else "")
    least = (
        f"{plan.least} fits ({plan.components} of components, {plan.representatives} of typical frames, "
        f"{plan.neighbours} of their neighbours), about {duration(plan.least * plan.seconds_per_fit)} on one core"
    )
    more = (
        "as many more as frames turn out worse than their neighbours"
        if plan.refits is None
        else f"up to {plan.refits} more in each of {plan.n_chains} chains for frames that turn out worse"
    )
    return f"[bold]refine[/bold]: {fitted} with {least}; {more}"


def _of_run(directory: RunDirectory, config: RunConfig) -> SeriesInput:
    """What the run predicted for patterns or for an archive, or the series that was made ready in it."""
    if (directory.predictions / "predictions.parquet").is_file():
        return series_of_run(directory, config.refine.fit)
    if (predictions_folder(directory) / INDEX).is_file():
        return SeriesInput(archive.refinable(directory, config), ())
    ready = directory.refinement / refine.SERIES
    return SeriesInput(read_series(ready), ()) if ready.is_file() else series_of_run(directory, config.refine.fit)


def _of_files(targets: list[str], structures: list[Path], config: RunConfig) -> SeriesInput:
    read = [_first_structure(path) for path in structures]
    phases = tuple(one.id for one in read)
    if len(set(phases)) < len(phases):
        read = [replace(one, id=f"{one.id}#{k}") for k, one in enumerate(read, start=1)]
        phases = tuple(one.id for one in read)
    return series_of_files(targets, [phases], dict(zip(phases, read, strict=True)), config.refine.fit)


def _first_structure(path: Path) -> Structure:
    found, rejects = read_cif(path)
    if not found:
        raise StructureError("no_structure", f"{path}: {rejects[0].detail if rejects else 'it holds no structure'}")
    return found[0]


def _show(console: Console, context: RunContext, series: Series) -> None:
    folder = context.run.refinement
    found = gather(sorted(folder.glob("shards-*/chain-*.parquet")), len(series), len(series.grid))
    fitted = np.flatnonzero(np.isfinite(found.r_w))
    console.print(fits_table(series, found))
    for text in dict.fromkeys(f"{series.names[k]}: {found.notes[k]}" for k in range(len(series)) if found.notes[k]):
        console.print(escape(text), soft_wrap=True, highlight=False)
    if not len(fitted):
        return
    chosen = fitted[np.argsort(found.r_w[fitted], kind="stable")]
    if len(chosen) > MOST_FIGURES:
        chosen = np.concatenate([chosen[: MOST_FIGURES // 2], chosen[-(MOST_FIGURES // 2) :]])
    (folder / "figures").mkdir(exist_ok=True)
    for k in chosen:
        save_fit(folder / "figures" / f"{k:06d}-{Path(series.names[k]).stem}", series, found, int(k))
    if len(fitted) > 1:
        save_parameters(folder / "figures" / "parameters", series, found)
    console.print(f"tables and figures: {folder.resolve()}", soft_wrap=True, highlight=False)


def fits_table(series: Series, found: GatheredFits) -> Table:
    """Values with units and standard uncertainties: of one frame below each other, of several a row a frame."""
    if len(series) == 1:
        table = Table(title=f"{escape(Path(series.names[0]).stem)}: r_w = {found.r_w[0]:.4f}")
        for heading, side in (("parameter", "left"), ("value", "right"), ("unit", "left")):
            table.add_column(heading, justify=side)  # type: ignore[arg-type]
        for key, values in found.values.items():
            table.add_row(key, with_uncertainty(values[0], found.uncertainties[key][0]), found.units[key])
        return table
    cells_first = sorted(found.values, key=lambda key: key.split(":")[0] not in CELL_NAMES)
    shown = [key for key in cells_first if not _tied(key, found)][:MOST_COLUMNS]
    table = Table(title=f"{len(series)} frames" + ("" if len(series) <= MOST_ROWS else f", the first {MOST_ROWS}"))
    known = series.coordinate is not None and bool(np.isfinite(series.coordinate).all())
    for heading in ("frame", *([f"{series.coordinate_name}\n({series.coordinate_unit})"] if known else []), "r_w"):
        table.add_column(heading, justify="right", no_wrap=True)
    for key in shown:
        heading = f"{key}\n({found.units[key]})" if found.units[key] else key
        table.add_column(heading, justify="right", no_wrap=True)
    for k in range(min(len(series), MOST_ROWS)):
        cells = [escape(Path(series.names[k]).stem), *([f"{series.coordinate[k]:g}"] if known else [])]  # type: ignore[index]
        cells.append(f"{found.r_w[k]:.4f}" if np.isfinite(found.r_w[k]) else found.kind[k])
        cells += [with_uncertainty(found.values[key][k], found.uncertainties[key][k]) for key in shown]
        table.add_row(*cells)
    return table


def _tied(key: str, found: GatheredFits) -> bool:
    """Whether a length is that of another axis in all frames."""
    before = list(found.values)[: list(found.values).index(key)]
    return any(np.array_equal(found.values[key], found.values[one], equal_nan=True) for one in before)
