"""The class table survives its own text form, and damaged text is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_mlsm.errors import BundleError
from hpc_mlsm.models.classes import ClassEntry, MemberEntry, from_json, to_json

NICKEL = MemberEntry("cod-2100640", "Ni", 225, "F m -3 m", 2100640, frozenset({"Ni"}), "nickel")
MAGNETITE = MemberEntry("Fe3O4", "Fe3O4", 227, "F d -3 m:2", None, frozenset({"Fe", "O"}), "magnétite")
CLASSES = (ClassEntry("g-1", (NICKEL, MAGNETITE), "Fe3O4"), ClassEntry("g-2", (NICKEL,), "cod-2100640"))


def test_classes_come_back_equal_and_in_order() -> None:
    assert from_json(to_json(CLASSES)) == CLASSES


def test_text_is_plain_json_that_others_can_read() -> None:
    raw = json.loads(to_json(CLASSES))
    assert raw[0]["representative"] == "Fe3O4"
    assert raw[0]["members"][1]["elements"] == ["Fe", "O"]
    assert raw[0]["members"][0]["cod_id"] == 2100640


def test_representative_is_found_wherever_it_stands() -> None:
    assert CLASSES[0].representative_member is MAGNETITE


@given(
    st.lists(
        st.builds(
            MemberEntry,
            id=st.text(),
            formula=st.text(),
            space_group=st.integers(1, 230),
            space_group_symbol=st.text(),
            cod_id=st.none() | st.integers(1_000_000, 9_999_999),
            elements=st.frozensets(st.text(max_size=2)),
            name=st.text(),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_members_come_back_equal(members: list[MemberEntry]) -> None:
    classes = (ClassEntry("c", tuple(members), members[0].id),)
    assert from_json(to_json(classes)) == classes


@pytest.mark.parametrize(
    "text",
    [
        to_json(CLASSES)[:-20],
        "",
        "null",
        "{}extra",
        "[1]",
        '[{"class_id": "a", "members": [], "representative": "x"}]',
        '[{"members": [], "representative": "x"}]',
        '[{"class_id": "a", "members": [{"id": "x"}], "representative": "x"}]',
        '[{"class_id": "a", "members": 3, "representative": "x"}]',
    ],
)
def test_damaged_text_is_refused(text: str) -> None:
    with pytest.raises(BundleError, match="class"):
        from_json(text)


def test_a_class_that_comes_twice_is_refused_by_name() -> None:
    with pytest.raises(BundleError, match="'g-1' twice"):
        from_json(to_json((CLASSES[0], CLASSES[0])))
