"""What the answer for one pattern is worth."""

import math
from dataclasses import replace

import pytest
from report_samples import candidate, fit, pattern

from hpc_mlsm.report.verdicts import expected_rank, reasons_of, verdict_of


def codes(one):
    return [reason.code for reason in reasons_of(one)]


def test_a_probable_candidate_that_fits_is_clear():
    verdict = verdict_of(pattern())
    assert (verdict.word, verdict.level, verdict.reasons) == ("one clear candidate", "good", ())


def test_a_candidate_of_middling_probability_is_likely():
    assert verdict_of(pattern(candidates=[candidate(probability=0.6)])).word == "likely"


def test_no_candidate_is_said_so():
    verdict = verdict_of(pattern(candidates=[], fits=[]))
    assert (verdict.word, verdict.level) == ("no candidate", "doubt")


@pytest.mark.parametrize(("probability", "found"), [(0.29, ["low_confidence"]), (0.31, [])])
def test_below_thirty_per_cent_confidence_is_low(probability, found):
    one = pattern(candidates=[candidate(probability=probability)])
    assert codes(one) == found
    assert (verdict_of(one).word == "low confidence") == bool(found)


@pytest.mark.parametrize(("r_w", "found"), [(0.51, ["poor_fit"]), (0.49, [])])
def test_a_fit_that_misses_half_of_the_pattern_is_poor(r_w, found):
    assert codes(pattern(fits=[fit(r_w=r_w)])) == found


def test_a_poor_first_fit_beside_a_good_second_is_no_poor_fit_but_a_better_one():
    one = pattern(fits=[fit(r_w=0.7), fit(r_w=0.2)])
    assert codes(one) == ["better_fit"]
    assert "Candidate 2 fits better" in reasons_of(one)[0].text


def test_candidates_that_fit_alike_are_a_caution_only():
    verdict = verdict_of(pattern(fits=[fit(r_w=0.10), fit(r_w=0.104), fit(r_w=0.3)]))
    assert (verdict.word, verdict.level) == ("others fit as well", "fair")
    assert "from 2 (0.104)" in verdict.reasons[0].text


def test_the_nearest_neighbour_may_disagree_and_may_be_missing():
    candidates = [candidate(1, correlation=0.8), candidate(2, 0.02, correlation=0.86)]
    assert codes(pattern(candidates=candidates)) == ["baseline_differs"]
    unknown = [candidate(1, correlation=math.nan), candidate(2, 0.02, correlation=math.nan)]
    assert codes(pattern(candidates=unknown)) == []


def test_a_filter_that_took_most_away_is_told():
    assert codes(pattern(removed=0.8)) == ["filtered"]
    assert codes(pattern(removed=0.4)) == []


@pytest.mark.parametrize(
    ("expected", "rank"), [("Cu", 2), ("Ni2", 1), ("s2", 2), ("NICKEL", 1), ("Fe2As2Sr", 3), ("Pt", None), (None, None)]
)
def test_what_is_expected_is_found_by_formula_id_name_or_class(expected, rank):
    candidates = [
        candidate(1),
        candidate(2, 0.04, "Cu", name="copper"),
        candidate(3, 0.01, "SrCo2As2", name="x", others=("SrFe2As2 (I 4/m m m)",)),
    ]
    one = pattern(candidates=candidates, expected=expected)
    assert expected_rank(one) == rank
    assert ("not_expected" in codes(one)) == (expected is not None and rank != 1)


def test_the_gravest_reason_gives_the_word():
    one = pattern(candidates=[candidate(probability=0.1)], fits=[fit(r_w=0.9)], expected="Pt")
    assert verdict_of(one).word == "not as expected"
    assert codes(one) == ["not_expected", "low_confidence", "poor_fit"]
    assert "not among the 1 candidates" in reasons_of(one)[0].text


@pytest.mark.parametrize(
    ("judgement", "word", "level"),
    [
        ("confident", "one clear candidate", "good"),
        ("several", "several candidates", "fair"),
        ("outside", "outside the catalogue", "doubt"),
        ("amorphous", "amorphous or noise", "doubt"),
    ],
)
def test_what_the_model_doubts_is_in_the_word(judgement, word, level):
    verdict = verdict_of(replace(pattern(), judgement=judgement))
    assert (verdict.word, verdict.level) == (word, level)
