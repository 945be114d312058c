"""What changed between two states of a catalogue."""

from hypothesis import given
from hypothesis import strategies as st

from hpc_mlsm.catalog.diff import CatalogueState, diff_states

OLD = CatalogueState({"kept": "1", "edited": "2", "gone": "3", "broken": "4"}, {"mended": "bad_cell", "bad": "empty"})
NEW = CatalogueState(
    {"kept": "1", "edited": "9", "mended": "5", "new": "6"}, {"broken": "cif_syntax", "bad": "empty", "junk": "not_cif"}
)


def test_every_kind_of_change_is_told_from_the_others() -> None:
    found = diff_states(OLD, NEW)
    assert found.added == ("new",)
    assert found.changed == ("edited",)
    assert found.withdrawn == ("gone",)
    assert found.rejected == (("broken", "cif_syntax"),)
    assert found.accepted == ("mended",)
    assert found.refused == (("junk", "not_cif"),)
    assert found.unchanged == 1
    assert found.to_compute == ("edited", "mended", "new")
    assert found.to_drop == ("broken", "gone")
    assert not found.is_empty


def test_a_state_does_not_differ_from_itself() -> None:
    assert diff_states(OLD, OLD).is_empty
    assert diff_states(OLD, OLD).unchanged == 4


IDS = st.sampled_from("abcdef")
STATES = st.builds(
    lambda structures, rejects: CatalogueState(
        structures, {key: reason for key, reason in rejects.items() if key not in structures}
    ),
    st.dictionaries(IDS, st.sampled_from("12")),
    st.dictionaries(IDS, st.sampled_from(("empty", "bad_cell"))),
)


@given(STATES, STATES)
def test_applying_a_difference_gives_the_second_state(first: CatalogueState, second: CatalogueState) -> None:
    found = diff_states(first, second)
    rebuilt = {key: value for key, value in first.structures.items() if key not in found.to_drop}
    rebuilt |= {key: second.structures[key] for key in found.to_compute}
    assert rebuilt == dict(second.structures)
    assert found.unchanged + len(found.to_compute) == len(second.structures)
