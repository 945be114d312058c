"""Answers about powder patterns as tables: CSV, Parquet, and for the terminal."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from hpc_mlsm.archive.powder_answers import PowderAnswer
from hpc_mlsm.durable import write_durably
from hpc_mlsm.models.powder_models import LABELS, PowderModel

_FIXED = (
    "pattern",
    "model",
    "kind",
    "calibrated",
    "first",
    "first_probability",
    "second",
    "second_probability",
    "peaks",
    "two_theta_min",
    "two_theta_max",
    "flags",
    "notes",
    "source",
)
_TEXTS = ("pattern", "model", "kind", "first", "second", "flags", "notes", "source")


def write_answers_csv(path: Path, models: Sequence[PowderModel], answers: Sequence[PowderAnswer]) -> None:
    """Write one row for each pattern and model, with a column of probabilities for each class, UTF-8.

    Where ``calibrated`` is False, probabilities are shares of a forest's votes.

    Raises
    ------
    StoreError
        If the file cannot be written.
    """
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, (*_FIXED, *models[0].classes), lineterminator="\n")
    writer.writeheader()
    writer.writerows(answer_rows(models, answers))
    write_durably(path, stream.getvalue().encode("utf-8"))


def write_answers_parquet(
    path: Path,
    models: Sequence[PowderModel],
    answers: Sequence[PowderAnswer],
    provenance: Mapping[str, str] | None = None,
) -> None:
    """Write the rows of ``write_answers_csv`` with their types; ``provenance`` goes into the file's metadata.

    Raises
    ------
    StoreError
        If the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {name: pa.string() for name in _TEXTS} | {"calibrated": pa.bool_(), "peaks": pa.int32()}
    schema = pa.schema(
        [(name, types.get(name, pa.float64())) for name in (*_FIXED, *models[0].classes)],
        metadata={f"hpc_mlsm.{key}": value for key, value in (provenance or {}).items()},
    )
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(answer_rows(models, answers), schema=schema), stream, compression="zstd")
    write_durably(path, stream.getvalue())


def answer_rows(models: Sequence[PowderModel], answers: Sequence[PowderAnswer]) -> list[dict[str, object]]:
    """Rows of the tables, by pattern and model."""
    classes, rows = models[0].classes, []
    for answer in answers:
        for model, shares in zip(models, answer.probabilities, strict=True):
            first, second = (-shares).argsort(stable=True)[:2]
            rows.append(
                {
                    "pattern": answer.name,
                    "model": model.name,
                    "kind": model.kind,
                    "calibrated": model.calibrated,
                    "first": classes[first],
                    "first_probability": float(shares[first]),
                    "second": classes[second],
                    "second_probability": float(shares[second]),
                    "peaks": answer.prepared.peaks,
                    "two_theta_min": answer.prepared.covered[0],
                    "two_theta_max": answer.prepared.covered[1],
                    "flags": "; ".join(answer.prepared.flags),
                    "notes": "; ".join(answer.prepared.notes),
                    "source": answer.source,
                    **dict(zip(classes, map(float, shares), strict=True)),
                }
            )
    return rows


def answer_table(models: Sequence[PowderModel], answers: Sequence[PowderAnswer]) -> Table:
    """A row for each pattern: what each model says, with its probability, and whether all say the same."""
    table = Table(title="Crystal systems", caption=_caption(models))
    table.add_column("pattern")
    table.add_column("peaks", justify="right")
    for model in models:
        table.add_column(escape(model.name if model.name != model.kind else LABELS[model.kind]))
    table.add_column("agree")
    for answer in answers:
        cells = [
            f"{models[0].classes[label]} [dim]{shares[label]:.0%}[/dim]"
            for label, shares in zip(answer.labels, answer.probabilities, strict=True)
        ]
        flagged = " [yellow]partly covered[/yellow]" if "partly_covered" in answer.prepared.flags else ""
        table.add_row(
            escape(answer.name) + flagged, str(answer.prepared.peaks), *cells, "yes" if answer.agreed else "no"
        )
    return table


def _caption(models: Sequence[PowderModel]) -> str | None:
    if all(model.calibrated for model in models):
        return None
    return "Percentages of forests are shares of their trees' votes, not probabilities"
