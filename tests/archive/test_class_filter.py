"""Filters are compared with answers worked out by hand."""

import pytest

from hpc_mlsm.archive.class_filter import filter_mask
from hpc_mlsm.errors import ConfigError
from hpc_mlsm.models.classes import ClassEntry, MemberEntry
from hpc_mlsm.structures.element_filter import ElementFilter


def member(id: str, formula: str, group: int, elements: str, cod_id: int | None = None) -> MemberEntry:
    return MemberEntry(id, formula, group, f"SG{group}", cod_id, frozenset(elements.split()), f"name of {id}")


NICKEL = ClassEntry("fcc", (member("cu", "Cu", 225, "Cu", 11), member("ni", "Ni", 225, "Ni", 12)), "ni")
SPINEL = ClassEntry("spinel", (member("fe", "Fe3O4", 227, "Fe O", 21), member("co", "CoFe2O4", 227, "Co Fe O")), "fe")
RUTILE = ClassEntry("rutile", (member("ti", "TiO2", 136, "Ti O", 31),), "ti")
CLASSES = (NICKEL, SPINEL, RUTILE)


def of(**sets: str) -> ElementFilter:
    return ElementFilter(**{name: frozenset(text.split()) for name, text in sets.items()})


@pytest.mark.parametrize(
    ("chosen", "admitted"),
    [
        (ElementFilter(), [True, True, True]),
        (of(required="O"), [False, True, True]),
        (of(required="Co O"), [False, True, False]),
        (of(allowed="Fe O"), [False, True, False]),
        (of(allowed="Fe O Ti Ni Cu"), [True, True, True]),
        (of(excluded="Fe"), [True, False, True]),
        (of(excluded="Co"), [True, True, True]),
        (of(required="O", excluded="Ti"), [False, True, False]),
        (ElementFilter(space_groups=frozenset({136, 225})), [True, False, True]),
        (ElementFilter(required=frozenset({"O"}), space_groups=frozenset({136})), [False, False, True]),
    ],
)
def test_a_class_passes_if_one_member_does(chosen: ElementFilter, admitted: list[bool]) -> None:
    assert filter_mask(CLASSES, chosen).tolist() == admitted


def test_elements_and_space_group_must_fit_the_same_member() -> None:
    mixed = ClassEntry("m", (member("a", "A", 1, "Fe"), member("b", "B", 2, "Co")), "a")
    chosen = ElementFilter(required=frozenset({"Fe"}), space_groups=frozenset({2}))
    with pytest.raises(ConfigError, match=r"required Fe; space groups 2\) leaves none of the model's 1 classes"):
        filter_mask((mixed,), chosen)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ({"required": "Fe Xx"}, "required: 'Xx' is no element"),
        ({"allowed": "fe"}, "allowed: 'fe' is no element symbol; write 'Fe'"),
        ({"excluded": "FE"}, "excluded: 'FE' is no element symbol; write 'Fe'"),
        ({"excluded": "Fe3+"}, "excluded: 'Fe3"),
        ({"excluded": "X"}, "excluded: 'X' is no element"),
        ({"required": "O Fe", "excluded": "Fe"}, "Fe is required and excluded"),
        ({"required": "O Fe", "allowed": "Fe"}, "O is required but not among the allowed"),
    ],
)
def test_wrong_or_contradicting_elements_are_named(sets: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        of(**sets)


@pytest.mark.parametrize("wrong", [0, 231, -1])
def test_wrong_space_groups_are_named(wrong: int) -> None:
    with pytest.raises(ConfigError, match=f"{wrong} is no space group"):
        ElementFilter(space_groups=frozenset({225, wrong}))


def test_the_filter_can_say_what_it_is() -> None:
    chosen = ElementFilter(frozenset({"O", "Fe"}), frozenset(), frozenset({"C"}), frozenset({227, 136}))
    assert chosen.describe() == "required Fe, O; excluded C; space groups 136, 227"
    assert ElementFilter().describe() == "no filter"
