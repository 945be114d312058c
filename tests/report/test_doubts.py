"""What in a run deserves doubt."""

from dataclasses import replace

import numpy as np
import pytest
from report_samples import candidate, empty_content, fit, full_content, pattern

from hpc_mlsm.report.content import Calibration, CatalogueSummary, GroupSummary, ModelScore, StageSummary
from hpc_mlsm.report.doubts import doubts_of


def texts(content):
    return [doubt.text for doubt in doubts_of(content)]


def test_a_run_without_flaws_raises_none_and_neither_does_an_empty_one():
    assert texts(full_content(rejected_patterns=())) == []
    assert texts(empty_content()) == []


def test_a_model_below_its_baseline_is_told():
    scores = (ModelScore("XGBoost", {1: 0.7}, 500), ModelScore("nearest", {1: 0.8}, 500), ModelScore("none", {}, 500))
    (text,) = texts(empty_content(scores=scores))
    assert text.startswith("nearest does better than XGBoost")
    assert "80.0" in text
    assert "70.0" in text


def test_few_test_rows_and_bad_calibration_are_told():
    content = empty_content(
        scores=(ModelScore("XGBoost", {1: 0.7}, 40),),
        calibration=Calibration(np.array([0.9]), np.array([0.5]), np.array([40]), 0.4),
    )
    rows, calibration = texts(content)
    assert "40 test rows" in rows
    assert "expected calibration error" in calibration


@pytest.mark.parametrize(("temperature", "word"), [(2.5, "overconfident"), (0.4, "underconfident"), (1.9, None)])
def test_a_temperature_far_from_one_is_told(temperature, word):
    training = replace(full_content().training, temperature=temperature)
    found = texts(empty_content(training=training))
    assert [word in text for text in found] == ([True] if word else [])


def test_trust_that_rests_on_little_is_told():
    training = replace(full_content().training, caution="What can be trusted was learned from 30 validation patterns.")
    assert texts(empty_content(training=training)) == [training.caution]


def test_training_that_ended_too_early_is_told():
    training = replace(full_content().training, best_round=59)
    (text,) = texts(empty_content(training=training))
    assert "still falling in the last of 60 rounds" in text


def test_chained_groups_are_told_with_the_worst():
    largest = (("g-1", ("A",), 0.5), ("g-2", ("B",), 0.3), ("g-3", ("C",), 0.86))
    (text,) = texts(empty_content(groups=GroupSummary(0.95, "single", (9, 8, 7), largest)))
    assert text.startswith("2 groups made by single linkage hold")
    assert "in g-2 the smallest correlation is 0.30" in text


def test_many_refused_structures_and_failed_tasks_are_told():
    stages = (StageSummary("simulate", "failed tasks", 3.0, 9, 2, 900, "patterns"),)
    refused, failed = texts(empty_content(catalogue=CatalogueSummary(80, 20), stages=stages))
    assert refused.startswith("20 of 100 structures (20.0")
    assert "2 tasks failed" in failed
    assert texts(empty_content(catalogue=CatalogueSummary(0, 0))) == []


def test_doubts_about_patterns_are_gathered_and_name_only_some():
    many = tuple(pattern(f"p{n}", candidates=[candidate(probability=0.2)], fits=[fit(r_w=0.9)]) for n in range(7))
    low, poor = texts(empty_content(patterns=(*many, pattern("good"))))
    assert low.startswith("For 7 of 8 patterns confidence is low")
    assert low.endswith("p0, p1, p2, p3 and 3 more.")
    assert "no candidate describes the curve" in poor


def test_refused_patterns_are_told():
    (text,) = texts(full_content())
    assert text == "1 pattern could not be used: broken."
