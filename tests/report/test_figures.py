"""Figures of a run as a whole: their numbers, their labels, and nothing in the way of anything else."""

from dataclasses import replace

import numpy as np
import pytest
from figure_checks import collisions, labels_without_unit
from matplotlib.collections import PatchCollection
from report_samples import full_content

from hpc_mlsm.report.content import Calibration, CatalogueSummary, GroupSummary, ModelScore, WeakSpot
from hpc_mlsm.report.figures import (
    accuracy_figure,
    crystal_systems_figure,
    group_sizes_figure,
    reliability_figure,
    training_figure,
    weak_spots_figure,
)
from hpc_mlsm.report.style import drawing

CONTENT = full_content()
LONG = tuple(
    ModelScore(name, {1: 0.812 + n / 30, 3: 0.99, 5: 1.0}, 10)
    for n, name in enumerate(
        ("XGBoost", "nearest neighbour (Pearson)", "extremely randomised trees", "forest $x$", "f")
    )
)
SPOTS = tuple(
    WeakSpot(f"g{n}", "Ni0.11Cr0.19Fe0.7", "P 1 21/c 1", 10, n / 50, (("NaAlSi3O8", 0.333), ("CaAl2Si2O8", 0.2)))
    for n in range(20)
)
POWERS = GroupSummary(0.95, "leader", (1,) * 9000 + (2,) * 700 + (40,) * 11 + (2345,))
FIGURES = {
    "systems": lambda: crystal_systems_figure(CONTENT.catalogue),
    "systems, many": lambda: crystal_systems_figure(CatalogueSummary(1, 0, crystal_systems={"cubic": 123_456, "?": 3})),
    "sizes": lambda: group_sizes_figure(CONTENT.groups),
    "sizes, many": lambda: group_sizes_figure(POWERS),
    "sizes, few": lambda: group_sizes_figure(GroupSummary(0.95, "single", (1, 1, 3))),
    "accuracy": lambda: accuracy_figure(CONTENT.scores),
    "accuracy, many": lambda: accuracy_figure(LONG),
    "accuracy, one": lambda: accuracy_figure(CONTENT.scores[:1]),
    "training": lambda: training_figure(CONTENT.training),
    "training, flat": lambda: training_figure(replace(CONTENT.training, losses=(1.0, 0.9, float("nan")), best_round=1)),
    "training, not a number": lambda: training_figure(replace(CONTENT.training, losses=(float("nan"),), best_round=9)),
    "reliability": lambda: reliability_figure(CONTENT.calibration),
    "weak spots": lambda: weak_spots_figure(CONTENT.weak_spots),
    "weak spots, many": lambda: weak_spots_figure(SPOTS),
}


@pytest.mark.parametrize("name", FIGURES)
def test_labels_have_units_and_no_text_lies_on_another_or_outside(name):
    with drawing():
        figure = FIGURES[name]()
        overlapping, outside = collisions(figure)
    assert labels_without_unit(figure) == []
    assert overlapping == []
    assert outside == []


def heights(axes):
    return [patch.get_height() for patch in axes.patches]


def test_bars_of_crystal_systems_are_the_counts():
    (axes,) = crystal_systems_figure(CONTENT.catalogue).axes
    assert [patch.get_width() for patch in axes.patches] == [87, 150, 0, 0, 0, 0, 200]


@pytest.mark.parametrize("groups", [CONTENT.groups, POWERS, GroupSummary(0.9, "single", (25,))])
def test_every_group_is_in_one_bar_of_its_size(groups):
    (axes,) = group_sizes_figure(groups).axes
    assert sum(heights(axes)) == len(groups.sizes)
    ones = sum(size == 1 for size in groups.sizes)
    first = [patch for patch in axes.patches if patch.get_x() < 1 < patch.get_x() + patch.get_width()]
    assert sum(patch.get_height() for patch in first) == ones


def test_bars_of_accuracy_are_the_accuracies_and_a_missing_k_has_none():
    (axes,) = accuracy_figure((*CONTENT.scores, ModelScore("half", {1: 0.5}, 3))).axes
    expected = [[100 * score.top_k[k] for k in (1, 3, 5)] for score in CONTENT.scores]
    assert np.allclose(heights(axes)[:9], np.ravel(expected))
    assert np.allclose(heights(axes)[9:], [50, np.nan, np.nan], equal_nan=True)
    written = [text.get_text() for text in axes.texts]
    assert {"91.2", "81.4", "50.0"} <= set(written)


def test_the_kept_round_is_marked_as_people_count():
    (axes,) = training_figure(CONTENT.training).axes
    point = axes.lines[1]
    assert point.get_xdata()[0] == CONTENT.training.best_round + 1
    assert point.get_ydata()[0] == CONTENT.training.losses[CONTENT.training.best_round]
    assert "round 41" in point.get_label()


def test_points_of_the_reliability_diagram_are_the_bins_and_few_rows_are_hollow():
    calibration = Calibration(np.array([0.1, 0.5, 0.9]), np.array([0.2, 0.5, 0.8]), np.array([3, 80, 900]), 0.1)
    upper, lower = reliability_figure(calibration).axes
    assert np.allclose(upper.lines[1].get_xydata(), [[10, 20], [50, 50], [90, 80]])
    assert np.allclose(upper.lines[3].get_xydata(), [[10, 20]])
    assert heights(lower) == [3, 80, 900]


def test_a_bar_of_a_weak_spot_is_whole():
    (axes,) = weak_spots_figure(SPOTS).axes
    assert not axes.findobj(PatchCollection)
    for place in range(len(SPOTS)):
        widths = [
            p.get_width() for p in axes.patches if abs(p.get_y() + p.get_height() / 2 - place) < 0.1 and p.get_width()
        ]
        assert sum(widths) == pytest.approx(100)


def test_long_formulae_are_left_out_before_they_run_off():
    spot = WeakSpot("g", "NiO", "F m -3 m", 10, 0.1, (("Ca10Na2Al2Si12O36H24K3", 0.5), ("Ca10Na2Al2Si12O36H24K4", 0.2)))
    (axes,) = weak_spots_figure((spot,)).axes
    (text,) = [text.get_text() for text in axes.texts]
    assert text.count("Si") == 1
