"""The figure of one pattern."""

from dataclasses import replace

import numpy as np
import pytest
from figure_checks import collisions, labels_without_unit
from report_samples import fit, pattern

from hpc_mlsm.report.pattern_figure import pattern_figure
from hpc_mlsm.report.style import drawing


def lines_of(figure):
    return {line.get_gid() or line.get_label(): line for line in figure.axes[0].lines}


def test_difference_is_measured_minus_candidate_and_lies_below_both():
    one = pattern()
    lines = lines_of(pattern_figure(one))
    for place, fitted in enumerate(one.fits, start=1):
        drawn = lines[f"layer-{place}-difference"].get_ydata()
        difference = one.measured - fitted.curve
        offset = drawn - difference
        assert np.ptp(offset) < 1e-12
        assert (drawn < np.minimum(one.measured, fitted.curve)).all()
        assert np.array_equal(lines[f"layer-{place}-curve"].get_ydata(), fitted.curve)


def test_only_numbers_beside_the_curves_are_on_the_axis():
    one = pattern()
    (axes,) = pattern_figure(one).axes
    assert min(axes.get_yticks()) >= min(one.measured.min(), min(f.curve.min() for f in one.fits))
    assert len(axes.get_yticks()) >= 3


def test_three_candidates_at_most_are_drawn():
    lines = lines_of(pattern_figure(pattern(fits=[fit(str(n)) for n in range(5)])))
    assert "layer-3-curve" in lines
    assert "layer-4-curve" not in lines


@pytest.mark.parametrize(
    "one",
    [
        pattern(),
        pattern(fits=()),
        pattern(points=np.linspace(0, 60, 6001)),
        replace(pattern(), measured=np.full(301, np.nan)),
        replace(pattern(), measured=np.zeros(301), fits=()),
        replace(pattern(), measured=np.linspace(0, 1e6, 301)),
    ],
    ids=["usual", "no fit", "long", "not a number", "zero", "huge"],
)
def test_labels_have_units_and_no_text_lies_on_another(one):
    with drawing():
        figure = pattern_figure(one)
        assert labels_without_unit(figure) == []
        assert collisions(figure) == ([], [])


def test_a_simulated_sample_is_not_called_measured():
    labels = [lines_of(pattern_figure(pattern(fits=(), simulated=simulated))) for simulated in (False, True)]
    assert "measured" in labels[0]
    assert "sample (simulated)" in labels[1]
    assert "measured" not in labels[1]


def test_a_long_pattern_is_thinned_and_keeps_its_extremes():
    one = pattern(points=np.linspace(0, 60, 60_001))
    for name, line in lines_of(pattern_figure(one)).items():
        assert len(line.get_xdata()) < 2000, name
    drawn = lines_of(pattern_figure(one))["measured"].get_ydata()
    assert drawn.max() == one.measured.max()
    assert drawn.min() == one.measured.min()
