"""Predict, of powder patterns: measured patterns in, what every model of the run says of each out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpc_mlsm import __version__
from hpc_mlsm.archive.folders import find_patterns
from hpc_mlsm.archive.pattern import PatternReject
from hpc_mlsm.archive.powder_answers import PowderAnswer, answer_patterns
from hpc_mlsm.archive.powder_answers_file import write_answers_nexus
from hpc_mlsm.archive.powder_files import POWDER_SUFFIXES, read_powder_files
from hpc_mlsm.archive.powder_settings import MeasuredPowderSettings
from hpc_mlsm.archive.powder_tables import write_answers_csv, write_answers_parquet
from hpc_mlsm.archive.tables import write_rejects_csv
from hpc_mlsm.errors import RunError
from hpc_mlsm.models.powder_models import PowderModel, load_powder_models
from hpc_mlsm.stages.context import RunContext

STAGE = "predict"
FILES_AT_ONCE = 256
PAGE = "predictions.html"


@dataclass(frozen=True)
class PowderClassified:
    """Models that were asked, their answers, and patterns that got none."""

    models: tuple[PowderModel, ...]
    answers: tuple[PowderAnswer, ...]
    rejects: tuple[PatternReject, ...]


def run(context: RunContext, out: Path | None = None) -> PowderClassified:
    """Ask all models of the run about the configured patterns, and write tables and a page.

    They go into the run's predictions, or to ``out``.

    Raises
    ------
    RunError
        If no patterns are named.
    BundleError, PatternError, StoreError
        If there is no usable model, no file is found, or a table cannot be written.
    """
    settings = context.config.predict
    if not settings.patterns:
        raise RunError("there is nothing to predict; name files or folders of patterns (predict.patterns)")
    models = load_powder_models(context.run.path / "models")
    classified = classify(models, settings.patterns, settings.powder)
    write_results(classified, out or context.run.predictions, str(context.run.path))
    for reject in classified.rejects:
        context.note(STAGE, f"{reject.source or reject.name} was set aside: {reject.detail}")
    return classified


def classify(
    models: tuple[PowderModel, ...], paths: Sequence[Path], settings: MeasuredPowderSettings
) -> PowderClassified:
    """Read files and folders of powder patterns and ask all models; what cannot be used is set aside.

    Raises
    ------
    PatternError
        If no file is found.
    """
    answers: list[PowderAnswer] = []
    rejects: list[PatternReject] = []
    files = find_patterns(paths, POWDER_SUFFIXES)
    for start in range(0, len(files), FILES_AT_ONCE):
        patterns, unread = read_powder_files(files[start : start + FILES_AT_ONCE])
        found, refused = answer_patterns(models, patterns, settings)
        answers += found
        rejects += unread + refused
    return PowderClassified(models, tuple(answers), tuple(rejects))


def write_results(classified: PowderClassified, folder: Path, source: str) -> Path:
    """CSV, Parquet, NeXus and a page of the answers, and a table of the patterns that got none; returns the page."""
    from hpc_mlsm.report.powder_page import write_powder_page

    folder.mkdir(parents=True, exist_ok=True)
    models, answers = classified.models, classified.answers
    provenance = {"models": source, "hpc_mlsm": __version__} | {model.name: model.hash[:16] for model in models}
    write_answers_csv(folder / "predictions.csv", models, answers)
    write_answers_parquet(folder / "predictions.parquet", models, answers, provenance)
    write_answers_nexus(folder / "predictions.nxs", models, answers, provenance)
    write_rejects_csv(folder / "rejects.csv", classified.rejects)
    return write_powder_page(folder / PAGE, models, answers, classified.rejects, provenance)
