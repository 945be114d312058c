"""Predict, of archives of powder patterns: what every model of the run says of each frame, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpc_mlsm.durable import write_durably
from hpc_mlsm.errors import RunError
from hpc_mlsm.models.powder_models import LABELS, load_powder_model, powder_folders
from hpc_mlsm.report.archive_tables import csv_bytes, parquet_bytes
from hpc_mlsm.report.powder_frames_table import FrameAnswers, frames_table
from hpc_mlsm.stages import predict_archive
from hpc_mlsm.stages.context import RunContext
from hpc_mlsm.stages.predict_archive import ArchiveSummary, read_predictions

TABLE = "frames"


@dataclass(frozen=True)
class PowderArchive:
    """What was predicted by each model, by name, and the table of all."""

    folder: Path
    summaries: Mapping[str, ArchiveSummary]
    agreed: int

    @property
    def table(self) -> Path:
        """One row a frame, as CSV; beside it as Parquet."""
        return self.folder / f"{TABLE}.csv"


def run(context: RunContext, addresses: Sequence[str | Path], out: Path | None = None) -> PowderArchive:
    """Predict what is missing of an archive with all models of the run, and write a table of their answers.

    Each model's predictions are a store of their own, in a folder of its name in the run's ``predictions/archive``, or
    in ``out``.

    Raises
    ------
    BundleError
        If there is no usable model.
    PatternError, RunError, StoreError
        As ``predict_archive.run``.
    """
    return predict_with(context, addresses, powder_folders(context.run.path / "models"), out)


def predict_with(
    context: RunContext, addresses: Sequence[str | Path], models: Sequence[Path], out: Path | None = None
) -> PowderArchive:
    """The same with these models.

    Raises
    ------
    RunError
        Besides, if the archive grew while it was predicted.
    """
    folder = (out or context.run.predictions / "archive").resolve()
    summaries = {model.name: predict_archive.run(context, addresses, model, folder / model.name) for model in models}
    answers, indices = {}, []
    for model in models:
        index, found = read_predictions(folder / model.name)
        loaded = load_powder_model(model)
        answers[model.name] = FrameAnswers(found, loaded.classes, LABELS[loaded.kind], loaded.hash)
        indices.append(index)
    if len({index.n_frames for index in indices}) > 1:
        raise RunError(f"{indices[0].source} grew while it was predicted; run predict again, it does the rest")
    table, agreed = frames_table(indices[0], answers)
    write_durably(folder / f"{TABLE}.csv", csv_bytes(table))
    write_durably(folder / f"{TABLE}.parquet", parquet_bytes(table))
    return PowderArchive(folder, summaries, agreed)
