"""Candidates as tables: CSV, Parquet, and for the terminal."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from hpc_mlsm.archive.candidates import Candidate, Ranking
from hpc_mlsm.archive.pattern import PatternReject
from hpc_mlsm.durable import write_durably

LIST_SEPARATOR = "; "
"""Between the values of one cell of a CSV file."""

_SHOWN = 3


def write_predictions_csv(path: Path, rankings: Iterable[Ranking]) -> None:
    """Write one row a candidate, UTF-8, in the order of patterns and ranks.

    ``removed_probability`` repeats in all rows of a pattern what a filter took away from it. Cells with several
    values (cod_ids, structure_ids, others) hold them with ``"; "`` between; an unknown correlation is empty.

    Raises
    ------
    StoreError
        If the file cannot be written.
    """
    rows = [
        {
            name: LIST_SEPARATOR.join(map(str, value)) if isinstance(value, list) else value
            for name, value in _row(ranking, candidate).items()
        }
        for ranking in rankings
        for candidate in ranking.candidates
    ]
    write_durably(path, _csv(_COLUMNS, rows))


def write_rejects_csv(path: Path, rejects: Iterable[PatternReject]) -> None:
    """Write the patterns that were refused: name, path, reason code, and a sentence for people.

    Raises
    ------
    StoreError
        If the file cannot be written.
    """
    rows = [
        {"pattern": reject.name, "source": reject.source, "reason": reject.reason, "detail": reject.detail}
        for reject in rejects
    ]
    write_durably(path, _csv(("pattern", "source", "reason", "detail"), rows))


def write_predictions_parquet(
    path: Path, rankings: Iterable[Ranking], provenance: Mapping[str, str] | None = None
) -> None:
    """Write the rows of ``write_predictions_csv`` with their types; lists stay lists, unknown correlations null.

    ``provenance`` (model, hashes, versions) goes into the file's key-value metadata.

    Raises
    ------
    StoreError
        If the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {
        "rank": pa.int32(),
        "probability": pa.float64(),
        "removed_probability": pa.float64(),
        "space_group": pa.int16(),
        "correlation": pa.float64(),
        "cod_ids": pa.list_(pa.int64()),
        "structure_ids": pa.list_(pa.string()),
        "others": pa.list_(pa.string()),
    }
    schema = pa.schema(
        [(name, types.get(name, pa.string())) for name in _COLUMNS],
        metadata={f"hpc_mlsm.{key}": value for key, value in (provenance or {}).items()},
    )
    rows = [_row(ranking, candidate) for ranking in rankings for candidate in ranking.candidates]
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), stream, compression="zstd")
    write_durably(path, stream.getvalue())


_COLUMNS = (
    "pattern",
    "rank",
    "probability",
    "removed_probability",
    "class_id",
    "formula",
    "space_group",
    "space_group_symbol",
    "name",
    "cod_ids",
    "structure_ids",
    "others",
    "correlation",
)


def _row(ranking: Ranking, candidate: Candidate) -> dict[str, object]:
    row: dict[str, object] = {name: getattr(candidate, name, None) for name in _COLUMNS}
    row |= {name: list(value) for name, value in row.items() if isinstance(value, tuple)}
    row["removed_probability"] = ranking.removed_probability
    if math.isnan(candidate.correlation):
        row["correlation"] = None
    return row


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode("utf-8")


def candidate_table(candidates: Sequence[Candidate], title: str | None = None) -> Table:
    """Candidates of one pattern as a table for the terminal; long lists are cut short with their number.

    The column of correlations is left out where none was computed. ``title`` is the pattern's name by default.
    """
    if title is None and candidates:
        title = candidates[0].pattern
    correlated = any(not math.isnan(candidate.correlation) for candidate in candidates)
    table = Table(title=escape(title) if title else None)
    for heading in ("Rank", "Probability", *(["Correlation"] if correlated else [])):
        table.add_column(heading, justify="right")
    for heading in ("Formula", "Space group", "COD ids / source", "Others in the class"):
        table.add_column(heading)
    for candidate in candidates:
        cells = [str(candidate.rank), f"{candidate.probability:.1%}"]
        if correlated:
            cells.append("" if math.isnan(candidate.correlation) else f"{candidate.correlation:.3f}")
        cells += [
            candidate.formula,
            f"{candidate.space_group_symbol} ({candidate.space_group})",
            _shortened([str(number) for number in candidate.cod_ids] or list(candidate.structure_ids[:1])),
            _shortened(list(candidate.others)),
        ]
        table.add_row(*map(escape, cells))
    return table


def _shortened(values: list[str]) -> str:
    more = len(values) - _SHOWN
    return ", ".join(values[:_SHOWN]) + (f" + {more} more" if more > 0 else "")
