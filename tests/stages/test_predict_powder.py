"""Measured powder patterns are put to all models of a run, and what cannot be answered is set aside with its reason."""

import csv
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from nexusformat.nexus import nxload
from powder_archives import CUBIC, GRID, TETRAGONAL, forest, measured, write_columns
from typer.testing import CliRunner

from hpc_mlsm.archive.powder_settings import MeasuredPowderSettings
from hpc_mlsm.cli.main import app
from hpc_mlsm.errors import BundleError, ConfigError
from hpc_mlsm.models.forest_bundle import save_forest
from hpc_mlsm.models.powder_models import load_powder_model, load_powder_models
from hpc_mlsm.stages.predict_powder import classify, write_results
from hpc_mlsm.structures.labels import CRYSTAL_SYSTEMS


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save_forest(forest("random_forest"), folder / "forest")
    save_forest(forest("extra_trees"), folder / "extra_trees")
    (folder / "cnn-training").mkdir()
    return folder


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "measured"
    folder.mkdir()
    write_columns(folder / "cube.xy", *measured(5.0, 5.0))
    write_columns(folder / "longer.xy", *measured(4.6, 6.1))
    return folder


SETTINGS = MeasuredPowderSettings()


def test_all_models_answer_side_by_side_and_are_right_about_lattices_they_never_saw(models: Path, files: Path) -> None:
    found = classify(load_powder_models(models), [files], SETTINGS)
    assert [model.name for model in found.models] == ["extra_trees", "forest"]
    assert {answer.name: answer.labels.tolist() for answer in found.answers} == {
        "cube": [CUBIC, CUBIC],
        "longer": [TETRAGONAL, TETRAGONAL],
    }
    assert all(answer.agreed for answer in found.answers)
    assert not found.rejects
    np.testing.assert_allclose([answer.probabilities.sum(axis=1) for answer in found.answers], 1.0)
    assert not any(model.calibrated or model.knows_background for model in found.models)


def test_another_wavelength_gives_the_same_answer(models: Path, files: Path) -> None:
    write_columns(files / "cube.xy", *measured(5.0, 5.0, wavelength=0.709, end=40.0, counts=1e5))
    (files / "longer.xy").unlink()
    found = classify(load_powder_models(models), [files], replace(SETTINGS, wavelength=0.709))
    assert found.answers[0].labels.tolist() == [CUBIC, CUBIC]
    assert any("converted from 0.709" in note for note in found.answers[0].prepared.notes)


def test_tables_nexus_and_page_say_the_same(models: Path, files: Path, tmp_path: Path) -> None:
    found = classify(load_powder_models(models), [files], SETTINGS)
    page = write_results(found, tmp_path / "out", "models").read_text()
    rows = list(csv.DictReader((tmp_path / "out" / "predictions.csv").read_text().splitlines()))
    table = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pylist()
    assert [(row["pattern"], row["model"], row["first"]) for row in rows] == [
        ("cube", "extra_trees", "cubic"),
        ("cube", "forest", "cubic"),
        ("longer", "extra_trees", "tetragonal"),
        ("longer", "forest", "tetragonal"),
    ]
    with h5py.File(tmp_path / "out" / "predictions.nxs") as file:
        shares = file["entry/answers/probability"][:]
    expected = np.array([answer.probabilities for answer in found.answers])
    np.testing.assert_array_equal(shares, expected)
    for row, one, share in zip(rows, table, expected.reshape(4, -1), strict=True):
        np.testing.assert_allclose([float(row[name]) for name in CRYSTAL_SYSTEMS], share)
        np.testing.assert_array_equal([one[name] for name in CRYSTAL_SYSTEMS], share)
    assert page.count("Bar chart: classes of") == 2
    assert "shares of their trees" in page


# nexusformat 2.1 sets an array's shape, which numpy 2.5 deprecates: its own business.
@pytest.mark.filterwarnings("ignore:Setting the shape on a NumPy array:DeprecationWarning")
def test_the_result_opens_as_a_plot_of_the_patterns(models: Path, files: Path, tmp_path: Path) -> None:
    write_results(classify(load_powder_models(models), [files], SETTINGS), tmp_path, "models")
    plot = nxload(tmp_path / "predictions.nxs").get_default()
    assert plot.nxsignal.shape == (2, GRID[2])
    assert [axis.nxname for axis in plot.nxaxes] == ["frame", "two_theta"]
    assert plot.two_theta.attrs["units"] == "degree"


def test_what_cannot_be_answered_is_set_aside_with_its_reason(models: Path, files: Path) -> None:
    x, y = measured(5.0, 5.0)
    write_columns(files / "short.xy", *measured(5.0, 5.0, end=30.0))
    write_columns(files / "backward.xy", np.concatenate([x[:90], x[60:]]), np.concatenate([y[:90], y[60:]]))
    write_columns(files / "gaps.xy", x, np.where(np.arange(len(x)) == 500, np.nan, y))
    write_columns(files / "negative.xy", x, y - 1500)
    write_columns(files / "zero.xy", x, 0 * y)
    write_columns(files / "radians.xy", np.radians(x), y)
    (files / "none.xy").write_text("")
    (files / "prose.xy").write_text("there is no pattern here\n")
    found = classify(load_powder_models(models), [files], SETTINGS)
    assert [answer.name for answer in found.answers] == ["cube", "longer"]
    details = {reject.name: (reject.reason, reject.detail) for reject in found.rejects}
    assert set(details) == {"short", "backward", "gaps", "negative", "zero", "radians", "none", "prose"}
    assert details["short"][0] == "few_peaks"
    assert "10 are needed" in details["short"][1]
    assert details["negative"][0] == "negative"
    assert details["zero"][0] == "constant"
    assert "radians" in details["radians"][1]
    again = classify(load_powder_models(models), [files / "radians.xy"], replace(SETTINGS, axis="radians"))
    assert again.answers[0].labels.tolist() == [CUBIC, CUBIC]
    guessed = classify(load_powder_models(models), [files / "short.xy"], replace(SETTINGS, min_peaks=1))
    assert "few_peaks" in guessed.answers[0].prepared.flags


def test_the_folder_of_one_bundle_suffices_on_the_command_line(models: Path, files: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["predict", str(models / "forest"), str(files), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "tetragonal" in done.output
    assert (tmp_path / "out" / "predictions.html").exists()
    refused = CliRunner().invoke(app, ["predict", str(models / "forest"), str(files), "--background", "guess"])
    assert isinstance(refused.exception, ConfigError)


def test_models_that_differ_are_refused_with_the_difference(models: Path, tmp_path: Path) -> None:
    save_forest(forest("random_forest"), tmp_path / "one")
    save_forest(forest("random_forest", (5.0, 0.05, 1601)), tmp_path / "two")
    with pytest.raises(BundleError, match=r"one and two differ in their 2θ grid"):
        load_powder_models(tmp_path)
    with pytest.raises(BundleError, match="holds no model of powder patterns"):
        load_powder_models(tmp_path / "one")
    with pytest.raises(BundleError, match="holds no model of powder patterns"):
        load_powder_model(tmp_path)
    assert load_powder_model(tmp_path / "two").two_theta.size == 1601
