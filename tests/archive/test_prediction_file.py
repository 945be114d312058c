"""The NeXus file is read back with h5py and nexusformat, and checked against the NeXus definitions."""

import dataclasses
import resource
from pathlib import Path

import h5py
import numpy as np
import pytest

import hpc_mlsm
from hpc_mlsm.archive.candidates import Candidate, Ranking
from hpc_mlsm.archive.prediction_file import write_predictions_nexus
from hpc_mlsm.errors import StoreError

CANDIDATE = Candidate("a", 1, 0.7, "g-1", "Ni", 225, "F m -3 m", "nickel", (1, 2), ("s1", "s2"), ("Cu (x)",), 0.9)
SECOND = dataclasses.replace(CANDIDATE, rank=2, probability=0.3, formula="Pt", cod_ids=(), correlation=float("nan"))
RANKINGS = [Ranking("a", (CANDIDATE, SECOND), 0.1), Ranking("µ", (CANDIDATE,), 0.0), Ranking("c", (SECOND, CANDIDATE))]
GRID = np.linspace(0, 30, 301)
MEASURED = np.sin(np.outer([1.0, 2.0, 3.0], GRID))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "predictions.nxs"
    write_predictions_nexus(path, RANKINGS, GRID, MEASURED, {"model": "pdf-paper", "model_hash": "abc"})
    return path


def test_h5py_reads_back_every_value(file: Path) -> None:
    with h5py.File(file, locking=False) as nexus:
        entry = nexus["entry"]
        np.testing.assert_array_equal(entry["measured/values"][()], MEASURED.astype(np.float32))
        np.testing.assert_array_equal(entry["measured/r"][()], GRID)
        np.testing.assert_array_equal(entry["candidates/probability"][()], [[0.7, 0.3], [0.7, np.nan], [0.3, 0.7]])
        np.testing.assert_array_equal(
            entry["candidates/correlation"][()], [[0.9, np.nan], [0.9, np.nan], [np.nan, 0.9]]
        )
        np.testing.assert_array_equal(entry["candidates/space_group"][()], [[225, 225], [225, 0], [225, 225]])
        names = entry["candidate_names"]
        assert names["formula"].asstr()[()].tolist() == [["Ni", "Pt"], ["Ni", ""], ["Pt", "Ni"]]
        assert names["cod_ids"].asstr()[()].tolist() == [["1; 2", ""], ["1; 2", ""], ["", "1; 2"]]
        assert names["class_id"].asstr()[0].tolist() == ["g-1", "g-1"]
        assert entry["frames/name"].asstr()[()].tolist() == ["a", "µ", "c"]
        assert entry["frames/removed_probability"][()].tolist() == [0.1, 0.0, 0.0]
        assert entry["process/program"].asstr()[()] == "hpc_mlsm"
        assert entry["process/version"].asstr()[()] == hpc_mlsm.__version__
        assert entry["process/provenance/model_hash"].asstr()[()] == "abc"


def test_nexusformat_finds_signals_and_axes_by_default(file: Path) -> None:
    nexusformat = pytest.importorskip("nexusformat.nexus")
    root = nexusformat.nxload(file)
    default = root.get_default()
    assert default.nxpath == "/entry/measured"
    assert default.nxsignal.shape == (3, 301)
    assert [axis.nxname for axis in default.nxaxes] == ["frame", "r"]
    candidates = root["entry/candidates"]
    assert candidates.nxsignal.nxname == "probability"
    assert [axis.nxname for axis in candidates.nxaxes] == ["frame", "rank"]
    assert candidates["rank"].nxvalue.tolist() == [1, 2]


def test_the_nexus_definitions_find_no_fault(file: Path) -> None:
    validate = pytest.importorskip("nexusformat.nexus.validate")
    assert validate.validate_file(file) == (0, 0)
    with h5py.File(file, "a", locking=False) as nexus:
        nexus["entry/measured"].attrs["NX_class"] = "NXnothing"
    assert validate.validate_file(file) != (0, 0), "the check itself finds nothing"


def test_silx_view_opens_it_as_a_plot(file: Path) -> None:
    nxdata = pytest.importorskip("silx.io.nxdata")
    with h5py.File(file, locking=False) as nexus:
        default = nxdata.get_default(nexus)
        assert default.is_valid
        assert default.interpretation == "spectrum"
        assert default.axes_dataset_names == ["frame", "r"]
        assert nxdata.NXdata(nexus["entry/candidates"]).is_valid


def test_no_frames_make_a_valid_file_too(tmp_path: Path) -> None:
    write_predictions_nexus(tmp_path / "p.nxs", [], GRID, np.zeros((0, 301)))
    with h5py.File(tmp_path / "p.nxs", locking=False) as nexus:
        assert nexus["entry/measured/values"].shape == (0, 301)
        assert nexus["entry/candidates/probability"].shape == (0, 0)


def test_patterns_that_do_not_fit_the_rankings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"shape \(2, 301\) do not fit 3 rankings on a grid of 301"):
        write_predictions_nexus(tmp_path / "p.nxs", RANKINGS, GRID, MEASURED[:2])
    assert list(tmp_path.iterdir()) == []


def test_the_same_predictions_give_the_same_bytes(file: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.nxs"
    write_predictions_nexus(again, RANKINGS, GRID, MEASURED, {"model": "pdf-paper", "model_hash": "abc"})
    assert again.read_bytes() == file.read_bytes()


def test_a_disk_that_takes_no_more_leaves_no_part_of_a_file(tmp_path: Path) -> None:
    # A limit on the size of files stands in for a full disk: the write fails half-way in the kernel.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(StoreError, match="cannot be written"):
            write_predictions_nexus(tmp_path / "p.nxs", RANKINGS, GRID, MEASURED)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
