"""Ranks with different data, settings or versions do not train together."""

from pathlib import Path

import pytest
from peaks import small

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.models.cnn_agreement import refuse_differences, settings_fingerprint, training_card

CARD = {"data": "d", "settings": "s", "checkpoint": "", "tensorflow": "2.21.0"}


def test_equal_cards_pass() -> None:
    refuse_differences([CARD])
    refuse_differences([CARD, dict(CARD), dict(CARD)])


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("data", "let all ranks read the same run directory"),
        ("settings", "start all ranks with the same configuration"),
        ("checkpoint", "let all ranks see the same run directory"),
        ("tensorflow", "use the same environment on all nodes"),
    ],
)
def test_what_differs_is_named_with_the_ranks_and_the_remedy(name: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=rf"differ in {name} \(ranks 0, 2: .*; rank 1: other\); {remedy}"):
        refuse_differences([CARD, {**CARD, name: "other"}, CARD])


def test_a_rank_of_a_program_that_says_less_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"differ in keras \(rank 0: 3\.15; rank 1: nothing\)"):
        refuse_differences([{**CARD, "keras": "3.15"}, CARD])


def test_a_card_tells_settings_and_data_apart(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="tensorflow is not installed (extra cnn)")
    card = training_card("d", small(), tmp_path)
    refuse_differences([card, training_card("d", small(), tmp_path)])
    for other in (training_card("e", small(), tmp_path), training_card("d", small(seed=1), tmp_path)):
        with pytest.raises(ConfigError, match="differ in"):
            refuse_differences([card, other])


def test_what_a_model_is_named_by_does_not_hold_what_it_runs_on() -> None:
    assert settings_fingerprint(small()) == settings_fingerprint(small(device="auto", threads=3, stall_s=9.0))
    assert settings_fingerprint(small()) != settings_fingerprint(small(batch=64))
