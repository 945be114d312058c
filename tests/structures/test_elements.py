"""Labels as they occur in real CIFs, and the element each of them means."""

import gemmi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_mlsm.errors import StructureError
from hpc_mlsm.structures.elements import (
    ELEMENTS,
    element_symbol,
    formula_amounts,
    formula_elements,
    is_vacancy,
    is_water,
)


@pytest.mark.parametrize(
    ("label", "element"),
    [
        ("Fe3+", "Fe"),
        ("Fet", "Fe"),
        ("O1", "O"),
        ("OW", "O"),
        ("OW10", "O"),
        ("O-H2", "O"),
        ("O-h1", "O"),
        ("OH", "O"),
        ("Oh3", "O"),
        ("D", "H"),
        ("D12", "H"),
        ("Ti3.928+", "Ti"),
        ("AlM2", "Al"),
        ("SiT1m", "Si"),
        ("Fe3+T2", "Fe"),
        ("Wat", "O"),
        ("WatX13", "O"),
        ("C(11)", "C"),
        ("O0+", "O"),
        ("Se-2", "Se"),
        ("13C", "C"),
        ("CaX10", "Ca"),
        ("AL2", "Al"),
        ("Nh1", "N"),
        ("Siva", "Si"),
        ("Cval", "C"),
        ("(Mg)1", "Mg"),
    ],
)
def test_a_label_is_mapped_without_a_formula(label: str, element: str) -> None:
    assert element_symbol(label) == element


@pytest.mark.parametrize(
    ("label", "formula", "element"),
    [
        ("CO1", "Co3 O4", "Co"),
        ("CO1", "C Ca O3", "C"),
        ("CO1", "C6 Co O6", "Co"),
        ("Hg", "C6 H6", "H"),
        ("Hg", "Hg O", "Hg"),
        ("CA", "C5 H9 N O2", "C"),
        ("SI1", "O2 Si", "Si"),
        ("W1", "H2 Ca O2", "O"),
        ("W1", "O3 W", "W"),
        ("NH4", "Cl H4 N", "N"),
        ("Am1", "Cl H4 N", "N"),
        ("Am1", "Am O2", "Am"),
        ("Va1", "O2 V", "V"),
        ("D1", "D2 O", "H"),
        ("Co1", "Fe O", "Co"),
        ("Al/Si", "Al N", "Al"),
    ],
)
def test_the_formula_decides_between_readings(label: str, formula: str, element: str) -> None:
    assert element_symbol(label, formula_elements(formula)) == element


@pytest.mark.parametrize("label", ["T1", "X", "", "?", "M2", "Me", "+", "12", "CO1", "SI1", "Va", "Q1", "Dum", "Al/Si"])
def test_a_label_that_means_no_single_element_is_refused_with_its_name(label: str) -> None:
    with pytest.raises(StructureError) as caught:
        element_symbol(label)
    assert caught.value.reason == "unknown_element"
    assert repr(label) in caught.value.detail


def test_every_symbol_means_itself_plain_charged_and_numbered() -> None:
    for number in range(1, 99):
        symbol = gemmi.Element(number).name
        for label in (symbol, f"{symbol}1", f"{symbol}2+", f"{symbol}(3)"):
            assert element_symbol(label) == symbol
    assert len(ELEMENTS) == 98


@given(st.text(max_size=12), st.sampled_from([None, frozenset({"O", "Fe"}), frozenset({"C", "H", "Co"})]))
def test_any_text_gives_an_element_or_a_reason(label: str, known: frozenset[str] | None) -> None:
    try:
        found = element_symbol(label, known)
    except StructureError as error:
        found = error.reason
    assert found in {*ELEMENTS, "unknown_element"}


def test_water_and_vacancies_are_told_apart_from_elements() -> None:
    assert is_water("Wat3", "O")
    assert is_water("OW1", "O")
    assert is_water("W1", "O")
    assert not is_water("W1", "W")
    assert not is_water("O1", "O")
    assert is_vacancy("Vac1")
    assert is_vacancy("Va", frozenset({"Ti", "O"}))
    assert not is_vacancy("Va", frozenset({"V", "O"}))


@pytest.mark.parametrize(
    ("formula", "elements"),
    [
        ("Al2 Ca0.5 O12 Si4", {"Al", "Ca", "O", "Si"}),
        ("(Mg,Fe)2 (Si O4)", {"Mg", "Fe", "Si", "O"}),
        ("Cu S O4 . 5H2O", {"Cu", "S", "O", "H"}),
        ("D2 O", {"D", "H", "O"}),
        ("?", set()),
        ("Iron oxide", set()),
    ],
)
def test_elements_of_a_formula(formula: str, elements: set[str]) -> None:
    assert formula_elements(formula) == elements


@pytest.mark.parametrize(
    ("formula", "amounts"),
    [
        ("Al2 Ca.5 O12 Si4", {"Al": 2, "Ca": 0.5, "O": 12, "Si": 4}),
        ("(O H2)", {"O": 1, "H": 2}),
        ("C D3 H O", {"C": 1, "H": 4, "O": 1}),
        ("Ca (C O3)", {}),
        ("Xx2 O", {}),
        ("O.", {}),
        ("?", {}),
        ("", {}),
    ],
)
def test_amounts_of_a_formula(formula: str, amounts: dict[str, float]) -> None:
    assert dict(formula_amounts(formula)) == amounts
