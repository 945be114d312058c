"""The result file of an archive opens as plots and holds what was found; tables say the same."""

import io
from dataclasses import replace

import h5py
import nexusformat.nexus as nx
import numpy as np
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from hpc_mlsm.decomposition.result_file import load_decomposition, save_decomposition
from hpc_mlsm.report import archive_curves
from hpc_mlsm.report.archive_answer import VERDICTS, SeriesAxis
from hpc_mlsm.report.archive_nexus import archive_image
from hpc_mlsm.report.archive_tables import components_table, csv_bytes, frames_table, parquet_bytes
from tests.report.archive_samples import sample_answer


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    path = tmp_path_factory.mktemp("result") / "archive.nxs"
    path.write_bytes(archive_image(sample_answer()))
    return path


def test_every_plot_of_the_file_has_a_signal_and_axes_of_its_shape(result):
    root = nx.nxload(result)
    plots = [group for group in root.walk() if isinstance(group, nx.NXdata)]
    assert len(plots) > 15
    for plot in plots:
        assert plot.nxsignal is not None, plot.nxpath
        assert len(plot.nxaxes) == plot.nxsignal.ndim, plot.nxpath
        for size, axis in zip(plot.nxsignal.shape, plot.nxaxes, strict=True):
            assert axis.shape == (size,), plot.nxpath
    assert root.plottable_data is not None  # by @default


def test_silx_opens_the_phases_first_and_finds_every_other_plot(result):
    silx_io = pytest.importorskip("silx.io")
    nxdata = pytest.importorskip("silx.io.nxdata")
    with silx_io.open(str(result)) as root:
        first = nxdata.get_default(root)
        assert first.group.name == "/entry/phases"
        assert (first.is_curve, first.axes_names) == (True, ["time (min)"])
        plots = []
        root["entry"].visititems(lambda _, node: plots.append(node) if node.attrs.get("NX_class") == "NXdata" else None)
        assert len(plots) > 15
        for plot in plots:
            read = nxdata.NXdata(plot)
            assert read.is_valid, (plot.name, read.issues)
            assert read.is_curve or read.is_image or read.is_scatter or read.is_stack, plot.name


def test_stretches_of_components_are_in_file_tables_and_report(tmp_path):
    answer = sample_answer()
    stretch = np.linspace(1.0, 1.01, 3 * len(answer.used)).reshape(-1, 3)
    answer = replace(answer, decomposition=replace(answer.decomposition, stretch=stretch))
    (tmp_path / "archive.nxs").write_bytes(archive_image(answer))
    with h5py.File(tmp_path / "archive.nxs") as file:
        np.testing.assert_array_equal(file["entry/stretch/component_2"][()], stretch[:, 1])
    column = np.array(frames_table(answer)["stretch_3"].to_pylist(), dtype=float)
    np.testing.assert_array_equal(column[answer.used], stretch[:, 2])
    assert archive_curves.stretch_figure(answer).axes[0].get_ylabel().startswith("Stretch")
    save_decomposition(tmp_path / "decomposition.h5", answer.decomposition, "")
    np.testing.assert_array_equal(load_decomposition(tmp_path / "decomposition.h5").stretch, stretch)


def test_the_file_holds_what_was_found(result):
    answer = sample_answer()
    with h5py.File(result) as file:
        entry = file["entry"]
        np.testing.assert_array_equal(entry["candidates/probability"][()], answer.probability)
        np.testing.assert_array_equal(entry["verdict/verdict"][()], answer.verdict)
        title = entry["verdict/title"].asstr()[()]
        assert all((f"{place}: {word}" in title) == (place in answer.verdict) for place, word in enumerate(VERDICTS))
        np.testing.assert_allclose(entry["weights/component_2"][()], answer.decomposition.weights[:, 1])
        assert entry["components/r"].attrs["units"] == "angstrom"
        assert entry["patterns/time"].attrs["units"] == "min"
        assert entry["process/provenance/model_hash"].asstr()[()] == "0123456789abcdef"
        lengths = [name for name in entry["refinement"] if name.endswith("_a")]
        assert len(lengths) == 2
        group = entry["refinement"][lengths[0]]
        assert group["a"].attrs["units"] == "angstrom"
        assert group["title"].asstr()[()].endswith("(angstrom)")
        assert np.nanmax(group["a_errors"]) == pytest.approx(3e-4)


def test_the_phase_against_time_is_in_the_file(result):
    answer = sample_answer()
    with h5py.File(result) as file:
        phases = file["entry/phases"]
        names = [phases.attrs["signal"], *phases.attrs["auxiliary_signals"]]
        labels = [phases[name].attrs["long_name"].partition(" ")[0] for name in names]
        assert labels == ["Fe2O3", "TiO2"]
        first = phases[names[0]][()]
    assert np.isnan(first[answer.verdict == 4]).all()
    assert first[answer.n // 3] > 0.5 > first[-1]


def test_tables_have_a_row_for_every_frame_and_agree_with_each_other():
    answer = sample_answer()
    table = frames_table(answer)
    assert table.num_rows == answer.n
    assert table["verdict"].to_pylist()[3] == "set aside"
    assert table["candidate_1"].to_pylist()[3] == ""
    again = pq.read_table(io.BytesIO(parquet_bytes(table)))
    assert again.schema.metadata[b"model_hash"] == b"0123456789abcdef"
    csv = pc.read_csv(io.BytesIO(csv_bytes(table)))
    assert csv.column_names == again.column_names
    np.testing.assert_allclose(csv["r_w"].to_numpy(), again["r_w"].to_numpy())
    assert components_table(answer).column_names == ["r", "component_1", "component_2", "component_3"]


def test_an_archive_without_a_variable_goes_along_its_frames(tmp_path):
    answer = sample_answer()
    answer = replace(answer, axis=SeriesAxis("frame", "", np.arange(answer.n, dtype=float)))
    path = tmp_path / "frames.nxs"
    path.write_bytes(archive_image(answer))
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["entry/weights/frame"][()], answer.used)
    assert frames_table(answer).column_names.count("frame") == 1


def test_an_archive_that_was_only_predicted_has_a_file_too(tmp_path):
    path = tmp_path / "bare.nxs"
    path.write_bytes(archive_image(sample_answer(bare=True)))
    assert "components" not in nx.nxload(path).entry
