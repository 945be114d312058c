"""The figure of how a network learnt."""

import re

import numpy as np
import pytest
from figure_checks import collisions, labels_without_unit
from report_samples import empty_content

from hpc_mlsm.models.cnn_history import EpochRecord
from hpc_mlsm.report.content import NetworkTraining
from hpc_mlsm.report.learning_figure import learning_figure
from hpc_mlsm.report.page import render
from hpc_mlsm.report.style import drawing


def course(n: int) -> list[EpochRecord]:
    return [
        EpochRecord(k, 2 / k + 0.3, 1 - 0.7 / k, 2.5 / k + 0.1, 0.9 - 0.6 / k, 1e-3, 10, 320, 1.0, 0.0)
        for k in range(1, n + 1)
    ]


@pytest.mark.parametrize("n", [1, 2, 17, 3000])
def test_nothing_is_in_the_way_of_anything_and_axes_have_units(n: int) -> None:
    with drawing():
        figure = learning_figure(course(n), n)
        assert collisions(figure) == ([], [])
    assert labels_without_unit(figure) == []


def test_the_curves_are_those_of_the_history_and_the_epoch_that_was_kept_is_marked() -> None:
    history = course(12)
    with drawing():
        losses, accuracies = learning_figure(history, 9).axes
    for axes, name in ((losses, "loss"), (accuracies, "accuracy")):
        training, validation, kept = axes.lines
        assert np.allclose(training.get_ydata(), [getattr(record, name) for record in history])
        assert np.allclose(validation.get_ydata(), [getattr(record, f"validation_{name}") for record in history])
        assert kept.get_xydata().tolist() == [[9, pytest.approx(getattr(history[8], f"validation_{name}"))]]


def test_a_training_that_kept_nothing_marks_nothing() -> None:
    with drawing():
        figure = learning_figure(course(3), 0)
    assert all(len(axes.lines) == 2 for axes in figure.axes)


def test_a_network_has_its_place_in_the_report_with_figure_and_facts() -> None:
    one = NetworkTraining("cnn", 5000, 500, tuple(course(12)), 9, 8, "NVIDIA A100", 1.07)
    paper = NetworkTraining("cnn-paper", 5000, 500, tuple(course(3)), 3, 1, "CPU", 1.0)
    text = render(empty_content(networks=(one, paper)))
    shown = re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", text))
    assert "Network cnn " in shown
    assert "Network cnn-paper" in shown
    assert "12, kept 9" in shown
    assert "NVIDIA A100, 8 ranks" in shown
    assert re.search(r"Validation accuracy 83\.3\s?%", shown)
    assert text.count("<svg") == 2
    assert "Not run yet: ingest, group, evaluate, predict" in shown
