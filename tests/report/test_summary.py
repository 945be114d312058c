"""The paragraph at the top."""

import re

import pytest
from report_samples import candidate, empty_content, full_content, pattern

from hpc_mlsm.report.quantities import THIN
from hpc_mlsm.report.summary import summary_of


def text_of(content):
    return re.sub("<[^>]*>", "", summary_of(content)).replace(THIN, " ")


def test_its_numbers_are_those_of_the_content():
    text = text_of(full_content())
    for part in (
        "437 structures in the catalogue, 13 refused",
        "425 classes (patterns that correlate by 0.95 or more share one), the largest of 4 structures",
        "XGBoost names the right class first for 91.2 % of 4371 simulated patterns",
        "among its first three for 96.8 %",
        "nearest neighbour 81.4 %",
        "1 pattern classified: 1 with one clear candidate",
        "median Rw of the first candidates is 0.12",
        "The sample is known for 1: it is named first for 1 and among the candidates for 1",
    ):
        assert part in text
    assert "Not run" not in text
    assert "commonest" not in text


def test_an_empty_run_says_that_nothing_has_been_run():
    assert text_of(empty_content()) == "No stage of this run has been completed yet."


@pytest.mark.parametrize(
    ("missing", "stage"), [("catalogue", "ingest"), ("groups", "group"), ("training", "train"), ("scores", "evaluate")]
)
def test_what_is_missing_is_named_and_the_rest_is_told(missing, stage):
    content = full_content(**{missing: () if missing == "scores" else None})
    assert f"Not run yet: {stage}." in text_of(content)


def test_runs_without_patterns_say_so():
    assert "Not run yet: predict." in text_of(full_content(patterns=(), rejected_patterns=()))


def test_patterns_are_counted_by_verdict():
    patterns = (
        pattern("a"),
        pattern("b", candidates=[candidate(probability=0.5)]),
        pattern("c", candidates=[candidate(probability=0.1)], fits=()),
    )
    text = text_of(empty_content(patterns=patterns))
    assert "3 patterns classified: 1 with one clear candidate, 1 with a likely one, 1 to be doubted." in text
    assert "sample is known" not in text
