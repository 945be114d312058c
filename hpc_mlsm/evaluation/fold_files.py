"""Results of cross-validation on disk: JSON to read them back, Parquet for programs, text and CSV for people."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpc_mlsm.durable import write_durably
from hpc_mlsm.evaluation.fold_scores import MEASURES, PER_CLASS, CrossValidation, FoldScores
from hpc_mlsm.evaluation.fold_tables import (
    Cell,
    ScoreTable,
    class_table,
    confusion_table,
    model_tables,
    per_class_table,
)
from hpc_mlsm.structures.labels import Relabelled

DUMMY = "dummy"
SCORES, RECORDS, TEXT = "scores.json", "scores.parquet", "tables.txt"


@dataclass(frozen=True, eq=False)
class FoldStudy:
    """All that cross-validation found in a run.

    Attributes
    ----------
    fingerprint
        Names models, settings and data.
    results
        By data set and model, the dummy last in each set.
    excluded
        How many structures each data set left out, by reason.
    synthetic
        How many structures of each data set are made up.
    disjoint
        What is never on both sides of a fold.
    relabelled
        Structures that are taught with another symmetry than their source states.
    """

    fingerprint: str
    results: tuple[CrossValidation, ...]
    excluded: Mapping[str, Mapping[str, int]]
    synthetic: Mapping[str, int]
    disjoint: str
    relabelled: tuple[Relabelled, ...] = ()

    def tables(self) -> list[ScoreTable]:
        """All tables, in the order in which they are read: classes, exclusions, relabelled, models, each class,
        confusion."""
        trained = [one for one in self.results if one.model != DUMMY]
        about = [class_table(self.results), exclusion_table(self.excluded)]
        if self.relabelled:
            about.append(relabelled_table(self.relabelled))
        return [*about, *model_tables(self.results), *map(per_class_table, trained), *map(confusion_table, trained)]


def exclusion_table(excluded: Mapping[str, Mapping[str, int]]) -> ScoreTable:
    """Structures that each data set leaves out, by reason."""
    reasons = sorted({reason for counts in excluded.values() for reason in counts})
    rows: list[tuple[Cell, ...]] = [(reason, *(one.get(reason, 0) for one in excluded.values())) for reason in reasons]
    rows.append(("all", *(sum(one.values()) for one in excluded.values())))
    return ScoreTable("exclusions", "Structures left out, by reason", ("Reason", *excluded), tuple(rows))


def relabelled_table(relabelled: Sequence[Relabelled]) -> ScoreTable:
    """Structures stated as P1 that have more symmetry, and what they are taught as."""
    columns = ("Structure", "Formula", "Stated", "Found", "Crystal system")
    rows = tuple((one.id, one.formula, "P 1", one.found_symbol, one.found_system) for one in relabelled)
    return ScoreTable("relabelled", "Structures stated as P1 that have more symmetry", columns, rows)


def write_study(study: FoldStudy, folder: Path) -> None:
    """Write scores and tables; the JSON, which says that all is there, last.

    Raises
    ------
    StoreError
        If a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = study.tables()
    kept = {f"{table.name}.csv" for table in tables}
    for old in folder.glob("*.csv"):
        if old.name not in kept:
            old.unlink(missing_ok=True)
    for table in tables:
        write_durably(folder / f"{table.name}.csv", table.csv().encode())
    heading = "".join(
        f"Data set {name}: {count} of the structures are synthetic crystals, which nobody measured.\n\n"
        for name, count in study.synthetic.items()
        if count
    )
    write_durably(folder / TEXT, (heading + "\n".join(table.text() for table in tables)).encode())
    write_durably(folder / RECORDS, _parquet(study))
    write_durably(folder / SCORES, json.dumps(_plain(asdict(study)), indent=1).encode())


def read_study(folder: Path) -> FoldStudy | None:
    """What ``write_study`` wrote; None where there is nothing whole."""
    try:
        raw: dict[str, Any] = json.loads((folder / SCORES).read_bytes())
        results = tuple(
            CrossValidation(
                one["model"],
                one["data_set"],
                tuple(one["classes"]),
                np.array(one["rows_by_class"], dtype=np.int64),
                tuple(map(_fold, one["folds"])),
            )
            for one in raw["results"]
        )
        changed = tuple(Relabelled(**one) for one in raw.get("relabelled", ()))
        return FoldStudy(raw["fingerprint"], results, raw["excluded"], raw["synthetic"], raw["disjoint"], changed)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def records(results: Sequence[CrossValidation]) -> Iterator[dict[str, Any]]:
    """One row for each number: data set, model, fold, measure, and the class where it is about one."""
    for one in results:
        for number, fold in enumerate(one.folds):
            place = {"data_set": one.data_set, "model": one.model, "fold": number}
            for measure in MEASURES:
                yield place | {"measure": measure, "class": None, "value": getattr(fold, measure)}
            for each in PER_CLASS:
                for name, value in zip(one.classes, getattr(fold, each).tolist(), strict=True):
                    yield place | {"measure": each, "class": name, "value": value}


def _parquet(study: FoldStudy) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"data_set": pa.string(), "model": pa.string(), "fold": pa.int32(), "measure": pa.string()}
    schema = pa.schema([*kinds.items(), ("class", pa.string()), ("value", pa.float64())])
    about = {"fingerprint": study.fingerprint, "synthetic": json.dumps(dict(study.synthetic))}
    table = pa.Table.from_pylist(list(records(study.results)), schema=schema).replace_schema_metadata(about)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


def _fold(raw: dict[str, Any]) -> FoldScores:
    precision, recall, f1 = (np.array([math.nan if v is None else v for v in raw[key]], float) for key in PER_CLASS)
    accuracy, top2, weighted_f1, balanced = (float(raw[key]) for key in MEASURES)
    confusion = np.array(raw["confusion"], dtype=np.int64)
    return FoldScores(accuracy, top2, weighted_f1, balanced, precision, recall, f1, confusion)


def _plain(value: Any) -> Any:
    """Arrays as lists and NaN as null, which JSON can hold."""
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
