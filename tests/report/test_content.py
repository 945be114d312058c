"""What a report is made of."""

import numpy as np
import pytest
from report_samples import R, empty_content, fit, full_content, pattern

from hpc_mlsm.errors import RunError


def test_curves_on_another_grid_are_refused_with_their_name():
    with pytest.raises(RunError, match=r"pattern x: fit short .* \(5,\).*\(301,\)"):
        pattern("x", fits=[fit("short", points=np.linspace(0, 1, 5))])


def test_fits_without_a_rank_have_that_of_their_place():
    one = pattern(fits=[fit("first"), fit("third", rank=3)])
    assert one.fit_of(1).label == "first"
    assert one.fit_of(2) is None
    assert one.fit_of(3).label == "third"


def test_the_model_comes_first_and_guesses_are_no_baselines():
    content = full_content()
    assert content.model.name == "XGBoost"
    assert [score.name for score in content.baselines] == ["nearest neighbour"]
    assert empty_content().model is None


def test_the_first_pattern_with_a_fit_is_found():
    content = empty_content(patterns=(pattern("bare", fits=()), pattern("fitted")))
    assert content.first_fitted().name == "fitted"
    assert empty_content().first_fitted() is None
    assert len(R) == 301
