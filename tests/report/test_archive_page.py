"""The morning report: whole in one file, figures that can be read, honest about what it leaves out."""

import re
from dataclasses import replace

import numpy as np
import pytest

from hpc_mlsm.errors import RunError
from hpc_mlsm.report import archive_curves, archive_maps
from hpc_mlsm.report.archive_answer import SeriesAxis
from hpc_mlsm.report.archive_page import write_morning_report
from hpc_mlsm.report.archive_rows import changing_shapes, doubtful_stretches, phase_rows
from hpc_mlsm.report.archive_values import refined_values
from hpc_mlsm.report.binning import Bins
from hpc_mlsm.report.style import drawing, new_axes
from tests.report.archive_samples import sample_answer
from tests.report.figure_checks import collisions, labels_without_unit

FIGURES = (
    archive_maps.timeline_figure,
    archive_maps.waterfall_figure,
    archive_maps.correlation_figure,
    archive_curves.components_figure,
    archive_curves.explained_figure,
    archive_curves.parameters_figure,
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "archive.html"
    write_morning_report(sample_answer(), path)
    return path


def test_the_report_is_one_small_file_that_asks_nothing_of_a_network(page):
    text = page.read_text()
    assert len(text) < 2_000_000
    assert not re.search(r'(src|href)="(?!#|data:)', text)
    assert "default-src 'none'" in text
    for words in ("What is there, and when", "Components", "Refinement", "Doubtful frames", "Set aside", "not_finite"):
        assert words in text
    assert "147 confident" in text.replace("\n", " ")


def test_what_was_made_up_and_not_measured_says_so_at_the_top(page):
    text = page.read_text()
    said = text.index("<strong>Not measured.</strong> The archive is synthetic")
    assert said < text.index("Most often first") < text.index("What is there, and when")


def test_weights_are_said_to_be_uncertain_where_particles_grow_and_only_there():
    answer = sample_answer()
    found = answer.decomposition
    said = changing_shapes(answer)
    # Both phases appear as particles of 25 Å, whose pattern is a mixture of the amorphous and the grown one.
    assert "Weights of components are uncertain (123.01 – 180.75 min)" in said
    exact = found.weights / found.weights.sum(axis=1, keepdims=True)
    noise = np.random.default_rng(0).normal(scale=0.3, size=answer.patterns.shape)
    patterns = (Bins(found.bounds).mean(exact) @ found.components.curves + noise).astype(np.float32)
    assert changing_shapes(replace(answer, patterns=patterns, decomposition=replace(found, weights=exact))) == ""
    assert changing_shapes(sample_answer(bare=True)) == ""


def test_figures_are_also_png_and_svg(page):
    files = {path.name for path in (page.parent / "figures").iterdir()}
    for name in ("timeline", "waterfall", "correlation", "components", "explained", "parameters", "best-fit-1"):
        assert {f"{name}.png", f"{name}.svg"} <= files
    assert (page.parent / "figures" / "timeline.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("draw", FIGURES)
@pytest.mark.parametrize("frames", [240, 1000])
def test_figures_have_units_and_no_text_over_another(draw, frames):
    with drawing():
        figure = draw(sample_answer(frames))
        assert not labels_without_unit(figure)
        overlapping, outside = collisions(figure)
    assert not overlapping
    assert not outside


def test_an_archive_that_was_only_predicted_says_what_is_missing(tmp_path):
    text = write_morning_report(sample_answer(bare=True), tmp_path / "archive.html").read_text()
    assert "has not been taken apart" in text
    assert "No frame has been refined" in text


def test_doubtful_frames_are_listed_in_stretches_with_a_reason():
    answer = sample_answer()
    stretches, n = doubtful_stretches(answer)
    assert n == len(stretches)
    listed = sum(one.frames for one in stretches)
    doubtful = (answer.verdict == 1) | (answer.fits.doubtful & (answer.verdict != 4))
    assert listed == doubtful.sum()
    assert any("two classes share" in one.reason for one in stretches)
    assert all(one.where.endswith("min") for one in stretches)


def test_phases_are_in_the_order_in_which_they_come():
    answer = sample_answer()
    rows = phase_rows(answer)
    assert [row.label.partition(" ")[0] for row in rows] == ["Fe2O3", "TiO2"]
    # What an amorphous frame resembles most is no phase.
    assert sum(row.frames for row in rows) == (answer.verdict < 2).sum() < 237
    assert (answer.named[answer.verdict == 3] == -1).all()


def test_refined_values_go_to_the_structure_that_they_are_of():
    answer = sample_answer()
    found = refined_values(answer.fits, answer.classes)
    lengths = {one.structure.partition(" ")[0]: one for one in found if one.name == "a"}
    assert set(lengths) == {"Fe2O3", "TiO2"}
    assert not (lengths["Fe2O3"].known & lengths["TiO2"].known).any()
    assert np.nanmean(lengths["TiO2"].values) == pytest.approx(4.592, abs=0.01)


def test_values_that_lie_far_apart_have_panels_of_their_own_and_what_symmetry_makes_equal_has_none():
    answer = sample_answer()
    panels = archive_curves._panels(answer)
    assert [[one.structure.partition(" ")[0] for one in series] for label, series in panels if "$a$" in label] == [
        ["Fe2O3"],
        ["TiO2"],
    ]
    assert [len(series) for label, series in panels if "mathrm{iso}" in label] == [2]
    fits = answer.fits
    twice = {
        name: {**getattr(fits, name), "b": getattr(fits, name)["a"]} for name in ("values", "uncertainties", "at_bound")
    }
    cubic = replace(answer, fits=replace(fits, **twice, units={**fits.units, "b": "Å"}))
    assert [label for label, _ in archive_curves._panels(cubic)] == [label for label, _ in panels]


def test_an_amorphous_component_is_called_so_and_not_by_what_it_resembles():
    assert archive_curves._name(sample_answer(), 0) == "amorphous or noise"
    assert "%" in archive_curves._name(sample_answer(), 1)


def test_a_series_that_goes_up_and_down_is_drawn_over_its_frames():
    answer = sample_answer()
    back = replace(answer, axis=SeriesAxis("temperature", "K", np.abs(np.linspace(-9, 9, answer.n))))
    assert archive_maps.series_axis(back).name == "frame"


def test_there_are_no_halves_of_frames_among_the_ticks():
    with drawing():
        _, axes = new_axes(4.0, 3.0)
        axes.plot([0, 1, 2], [0.3, 0.5, 0.1])
        archive_maps.name_axis(axes.xaxis, SeriesAxis("frame", "", np.arange(3.0)))
        archive_maps.name_axis(axes.yaxis, SeriesAxis("temperature", "K", np.array([0.3, 0.5, 0.1])))
        assert set(np.arange(3)) <= set(axes.get_xticks())
        assert all(tick == round(tick) for tick in axes.get_xticks())
        assert any(tick != round(tick) for tick in axes.get_yticks())
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Frame (number)", "Temperature (K)")


def test_results_of_different_archives_are_refused():
    with pytest.raises(RunError, match="results of different archives"):
        replace(sample_answer(), names=["one frame"])


def test_few_fits_of_a_long_archive_are_drawn_one_by_one():
    answer = sample_answer(1000)
    few = np.isfinite(answer.fits.r_w) & (np.arange(1000) % 60 == 0)
    hidden = {name: {key: np.where(few, one, np.nan) for key, one in getattr(answer.fits, name).items()}
              for name in ("values", "uncertainties")}  # fmt: skip
    sparse = replace(answer, fits=replace(answer.fits, r_w=np.where(few, answer.fits.r_w, np.nan), **hidden))
    with drawing():
        figure = archive_curves.parameters_figure(sparse)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert len(shown) > 4
    assert len(shown[0].get_lines()[0].get_xdata()) == few.sum()


def test_structures_of_a_class_that_cannot_be_told_apart_are_named():
    answer = sample_answer()
    first, second = answer.classes
    other = replace(second.representative_member, id="twin", space_group_symbol="I 4/m m m")
    both = replace(answer, classes=(replace(first, members=(*first.members, other)), second))
    assert [row.alike for row in phase_rows(both)] == [(f"{other.formula} (I 4/m m m)",), ()]
    assert [row.alike for row in phase_rows(answer)] == [(), ()]
