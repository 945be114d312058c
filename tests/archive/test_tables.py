"""What is written is read back with other libraries: csv, pyarrow, and the terminal's own text."""

import csv
import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from hpc_mlsm.archive.candidates import Candidate, Ranking
from hpc_mlsm.archive.pattern import PatternReject
from hpc_mlsm.archive.tables import (
    candidate_table,
    write_predictions_csv,
    write_predictions_parquet,
    write_rejects_csv,
)
from hpc_mlsm.errors import StoreError

SPINEL = Candidate(
    pattern='frame, "1" [µ]',
    rank=1,
    probability=0.1 + 0.2,
    class_id="g-1",
    formula="Fe3O4",
    space_group=227,
    space_group_symbol="F d -3 m:2",
    name="magnetite",
    cod_ids=(9002316, 1513301, 9005837, 9005838, 9005839),
    structure_ids=("a", "b"),
    others=("CoFe2O4 (F d -3 m:2)", "[Mn]Fe2O4 (F d -3 m:2)", "C (x)", "D (x)"),
    correlation=0.987654321,
)
OWN = dataclasses.replace(
    SPINEL, rank=2, probability=1 / 3, cod_ids=(), structure_ids=("own/ni.cif",), others=(), correlation=float("nan")
)
RANKINGS = [Ranking(SPINEL.pattern, (SPINEL, OWN), 0.25), Ranking("x", (dataclasses.replace(OWN, pattern="x"),))]


def test_csv_read_by_the_standard_library_gives_back_every_value(tmp_path: Path) -> None:
    write_predictions_csv(tmp_path / "p.csv", RANKINGS)
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["pattern"] for row in rows] == [SPINEL.pattern, SPINEL.pattern, "x"]
    assert [int(row["rank"]) for row in rows] == [1, 2, 2]
    assert float(rows[0]["probability"]) == SPINEL.probability
    assert float(rows[0]["removed_probability"]) == 0.25
    assert float(rows[0]["correlation"]) == SPINEL.correlation
    assert rows[1]["correlation"] == ""
    assert tuple(map(int, rows[0]["cod_ids"].split("; "))) == SPINEL.cod_ids
    assert tuple(rows[0]["others"].split("; ")) == SPINEL.others
    assert rows[1]["cod_ids"] == ""
    assert (rows[0]["formula"], rows[0]["space_group"], rows[0]["space_group_symbol"]) == ("Fe3O4", "227", "F d -3 m:2")


def test_parquet_read_by_pyarrow_gives_back_every_value_with_its_type(tmp_path: Path) -> None:
    write_predictions_parquet(tmp_path / "p.parquet", RANKINGS, {"model": "m-1"})
    table = pq.read_table(tmp_path / "p.parquet")
    rows = table.to_pylist()
    assert len(rows) == 3
    for row, candidate in zip(rows, (SPINEL, OWN), strict=False):
        for name, value in dataclasses.asdict(candidate).items():
            expected = list(value) if isinstance(value, tuple) else value
            assert row[name] == (None if value != value else expected)
    assert str(table.schema.field("cod_ids").type) == "list<element: int64>"
    assert table.schema.metadata[b"hpc_mlsm.model"] == b"m-1"


def test_no_rankings_give_tables_with_headings_only(tmp_path: Path) -> None:
    write_predictions_csv(tmp_path / "p.csv", [])
    write_predictions_parquet(tmp_path / "p.parquet", [])
    assert (tmp_path / "p.csv").read_text().startswith("pattern,rank,probability,")
    assert pq.read_table(tmp_path / "p.parquet").num_rows == 0
    assert pq.read_table(tmp_path / "p.parquet").column_names[:3] == ["pattern", "rank", "probability"]


def test_rejects_are_a_table_too(tmp_path: Path) -> None:
    reject = PatternReject("a", "d/a.gr", "constant", 'd/a.gr: "flat", line 3')
    write_rejects_csv(tmp_path / "r.csv", [reject])
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as stream:
        assert list(csv.DictReader(stream)) == [
            {"pattern": "a", "source": "d/a.gr", "reason": "constant", "detail": reject.detail}
        ]


@pytest.mark.parametrize("write", [write_predictions_csv, write_predictions_parquet])
def test_a_folder_that_is_not_there_is_a_clear_error(tmp_path: Path, write: object) -> None:
    assert callable(write)
    with pytest.raises(StoreError, match="cannot be written"):
        write(tmp_path / "none" / "p.csv", RANKINGS)


def test_an_older_file_survives_a_failure_and_nothing_partial_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.csv"
    write_predictions_csv(path, RANKINGS[:1])
    before = path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        write_predictions_csv(path, RANKINGS)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def printed(candidates: list[Candidate], width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(candidate_table(candidates))
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return stream.getvalue()


def test_terminal_table_shows_what_a_person_asks_for() -> None:
    text = printed([SPINEL, OWN])
    for expected in (
        SPINEL.pattern, "Rank", "Probability", "Formula", "Space group", "COD ids / source", "Others in the class",
        "30.0%", "33.3%", "0.988", "Fe3O4", "F d -3 m:2 (227)", "9002316, 1513301, 9005837 + 2 more", "own/ni.cif",
        "[Mn]Fe2O4 (F d -3 m:2), C (x) + 1 more",
    ):  # fmt: skip
        assert expected in text


def test_terminal_table_has_no_empty_column_of_correlations() -> None:
    assert "Correlation" in printed([SPINEL])
    assert "Correlation" not in printed([OWN])


def test_terminal_table_of_nothing_is_headings() -> None:
    assert "Rank" in printed([])


def test_numbers_in_csv_are_plain_python_numbers(tmp_path: Path) -> None:
    candidate = dataclasses.replace(SPINEL, probability=float(np.float32(0.1)))
    write_predictions_csv(tmp_path / "p.csv", [Ranking("p", (candidate,))])
    assert json.dumps(float(np.float32(0.1))) in (tmp_path / "p.csv").read_text()
