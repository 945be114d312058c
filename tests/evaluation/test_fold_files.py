"""What cross-validation found is read back as it was written, by people, by programs and by the next run."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from hpc_mlsm.evaluation.fold_files import DUMMY, FoldStudy, read_study, write_study
from hpc_mlsm.evaluation.fold_scores import MEASURES, cross_validation_scores, dummy_probabilities

CLASSES = ("cubic", "hexagonal", "triclinic")


def study() -> FoldStudy:
    """A model that is right on two of three, and the dummy; nothing is triclinic."""
    rng = np.random.default_rng(0)
    labels, folds = np.arange(60) % 2, np.arange(60) % 5
    found = rng.random((60, 3)) * 0.1
    found[np.arange(60), np.where(np.arange(60) % 3 == 0, 1 - labels, labels)] += 1.0
    model = cross_validation_scores("forest", "full", CLASSES, labels, found, folds)
    dummy = cross_validation_scores(DUMMY, "full", CLASSES, labels, dummy_probabilities(labels, folds, 3), folds)
    return FoldStudy("abc", (model, dummy), {"full": {"max_axis": 4, "no_atoms": 2}}, {"full": 60}, "structure")


def test_scores_are_read_back_with_every_digit_and_what_is_not_defined(tmp_path: Path) -> None:
    written = study()
    write_study(written, tmp_path)
    found = read_study(tmp_path)
    assert found is not None
    assert (found.fingerprint, found.excluded, found.synthetic) == ("abc", written.excluded, written.synthetic)
    for mine, other in zip(found.results, written.results, strict=True):
        assert (mine.model, mine.classes) == (other.model, other.classes)
        for one, two in zip(mine.folds, other.folds, strict=True):
            for name in (*MEASURES, "precision", "recall", "f1", "confusion"):
                np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert np.isnan(found.results[0].folds[0].recall[2])


def test_the_tables_for_programs_hold_the_numbers_of_every_fold(tmp_path: Path) -> None:
    write_study(study(), tmp_path)
    rows = pq.read_table(tmp_path / "scores.parquet").to_pylist()
    assert len(rows) == 2 * 5 * (len(MEASURES) + 3 * len(CLASSES))
    accuracies = [r["value"] for r in rows if r["model"] == "forest" and r["measure"] == "accuracy"]
    # 20 of 60 are wrong, 4 of each fold's 12.
    assert accuracies == pytest.approx([2 / 3] * 5)
    with (tmp_path / "models-full.csv").open(newline="") as file:
        table = {row["Model"]: row for row in csv.DictReader(file)}
    assert float(table["forest"]["Accuracy mean"]) == pytest.approx(2 / 3)
    assert float(table[DUMMY]["Accuracy mean"]) == pytest.approx(0.5, abs=0.01)
    with (tmp_path / "exclusions.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["Reason", "full"], ["max_axis", "4"], ["no_atoms", "2"], ["all", "6"]]
    text = (tmp_path / "tables.txt").read_text()
    assert "60 of the structures are synthetic crystals" in text
    json.loads((tmp_path / "scores.json").read_text(), parse_constant=pytest.fail)


def test_scores_that_are_cut_or_missing_are_none(tmp_path: Path) -> None:
    assert read_study(tmp_path) is None
    write_study(study(), tmp_path)
    path = tmp_path / "scores.json"
    path.write_bytes(path.read_bytes()[:-200])
    assert read_study(tmp_path) is None


def test_tables_of_models_that_are_no_longer_there_go(tmp_path: Path) -> None:
    (tmp_path / "models-organic.csv").write_text("old")
    write_study(study(), tmp_path)
    assert not (tmp_path / "models-organic.csv").exists()
