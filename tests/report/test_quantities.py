"""Numbers as people read them."""

import math

import pytest

from hpc_mlsm.report.quantities import (
    THIN,
    count,
    duration,
    fixed,
    percent,
    plural,
    rounded,
    unit,
    with_uncertainty,
    with_unit,
)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (437, "437"),
        (4370, "4370"),
        (10833, f"10{THIN}833"),
        (53_000_000, f"53{THIN}000{THIN}000"),
        (-3, "−3"),
    ],
)
def test_counts_are_grouped_in_threes_from_five_digits_on(number, text):
    assert count(number) == text


def test_plurals_follow_the_number():
    assert [plural(n, "class", "classes") for n in (0, 1, 2)] == ["0 classes", "1 class", "2 classes"]
    assert plural(2, "row") == "2 rows"


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.912, "91.2 %"), (1.0, "100 %"), (0.0, "0 %"), (0.99996, "> 99.9 %"), (0.0003, "< 0.1 %"), (0.0006, "0.1 %")],
)
def test_only_all_reads_a_hundred_per_cent_and_only_nothing_reads_none(share, text):
    assert percent(share).replace(THIN, " ") == text


@pytest.mark.parametrize("show", [percent, fixed, rounded, duration])
def test_a_number_that_is_none_is_a_dash(show):
    assert show(math.nan) == show(math.inf) == "–"


def test_minus_signs_are_minus_signs():
    assert fixed(-0.25) == "−0.250"
    assert rounded(-0.25) == "−0.25"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.005123, "0.00512"),
        (672.63, "673"),
        (3.0, "3"),
        (0, "0"),
        (1.2e-7, "1.2 × 10⁻⁷"),
        (43700.4, "43 700"),
        (2e9, "2 × 10⁹"),
    ],
)
def test_three_significant_digits_are_kept(value, text):
    assert rounded(value).replace(THIN, " ") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4213, "0.42 s"),
        (9.6, "9.6 s"),
        (48.4, "48 s"),
        (59.7, "1 min"),
        (192, "3 min 12 s"),
        (3599.6, "1 h"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations_read_as_people_say_them(seconds, text):
    assert duration(seconds).replace(THIN, " ") == text


def test_units_are_in_print_and_unknown_ones_stay():
    assert [unit(u) for u in ("angstrom^2", "1/angstrom", "Å", "degree", "")] == ["Å²", "Å⁻¹", "Å", "°", ""]
    assert with_unit("3.5238", "angstrom") == f"3.5238{THIN}Å"
    assert with_unit("90", "degree") == "90°"
    assert with_unit("1.02", "") == "1.02"


@pytest.mark.parametrize(
    ("value", "uncertainty", "text"),
    [
        (3.524713, 0.0000724, "3.52471(7)"),
        (5.5652, 0.0044, "5.565(4)"),
        (35.255, 0.372, "35.3(4)"),
        (0.00624, 0.000134, "0.00624(13)"),
        (12345.0, 1234.0, "12345(1234)"),
        (1.5, float("nan"), "1.5"),
        (float("inf"), float("nan"), "∞"),
        (float("nan"), float("nan"), "–"),
    ],
)
def test_uncertainties_stand_in_brackets(value: float, uncertainty: float, text: str) -> None:
    assert with_uncertainty(value, uncertainty) == text
