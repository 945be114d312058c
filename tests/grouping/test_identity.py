"""Ids of classes over several groupings: who keeps one, who loses it, and what the history says."""

import numpy as np
import pytest

from hpc_mlsm.grouping.groups import ClassEvent, Group, group_id
from hpc_mlsm.grouping.identity import carry_ids


def made(*members: str) -> tuple[Group, ...]:
    """Groups as ``build_groups`` gives them, one for each word, a member for each letter."""
    parts = sorted(tuple(sorted(word)) for word in members)
    return tuple(Group(group_id(part[0]), label, part, part[0], 1.0) for label, part in enumerate(parts))


def by_members(groups: tuple[Group, ...]) -> dict[str, str]:
    return {"".join(group.members): group.id for group in groups}


A, B, C = group_id("a"), group_id("b"), group_id("c")


def test_the_first_grouping_has_ids_by_smallest_member_and_no_history():
    named = carry_ids(made("ab", "c"), (), (), 1)
    assert named.groups == made("ab", "c")
    assert named.events == ()


def test_a_class_keeps_its_id_while_it_keeps_a_member():
    before = made("bd", "c")
    named = carry_ids(made("ade", "c"), before, (), 2)  # b is gone, a and e have come
    assert by_members(named.groups) == {"ade": B, "c": C}
    assert named.events == ()


def test_of_merged_classes_the_one_that_brings_most_structures_lives_on():
    before = made("a", "bcd", "e")
    named = carry_ids(made("abcd", "e"), before, (), 5)
    assert by_members(named.groups) == {"abcd": B, "e": group_id("e")}
    assert named.events == (ClassEvent(5, "merged", A, (B,), 1),)


def test_of_a_split_class_the_largest_part_keeps_the_id():
    named = carry_ids(made("a", "bcd"), made("abcd"), (), 2)
    ids = by_members(named.groups)
    assert ids["bcd"] == A
    assert ids["a"] not in {A, B}  # the id that its smallest member would give is in use
    assert named.events == (ClassEvent(2, "split", ids["a"], (A,), 1),)


def test_equal_claims_go_by_the_smaller_id():
    before = made("a", "b")
    named = carry_ids(made("ab"), before, (), 2)
    assert by_members(named.groups) == {"ab": min(A, B)}
    parts = carry_ids(made("ac", "bd"), made("abcd"), (), 2)
    assert by_members(parts.groups)["ac"] == A


def test_a_class_without_structures_is_retired_and_its_id_is_never_given_again():
    gone = carry_ids(made("c"), made("ab", "c"), (), 2)
    assert gone.events == (ClassEvent(2, "retired", A, (), 2),)
    back = carry_ids(made("ab", "c"), gone.groups, gone.events, 3)
    ids = by_members(back.groups)
    assert ids["c"] == C
    assert ids["ab"] not in {A, C}
    assert back.events == (ClassEvent(3, "added", ids["ab"], (), 2),)


def test_structures_that_change_class_are_told_where_both_classes_stay():
    named = carry_ids(made("ab", "cde"), made("abc", "de"), (), 2)
    assert by_members(named.groups) == {"ab": A, "cde": group_id("d")}
    assert named.events == (ClassEvent(2, "moved", A, (group_id("d"),), 1),)


def test_labels_stay_where_the_classes_do_and_new_ones_follow():
    before = made("b", "d", "f")
    named = carry_ids(made("ab", "d", "f"), before, (), 2)
    assert [group.id for group in named.groups] == [group.id for group in before]
    more = carry_ids(made("ab", "c", "f"), named.groups, (), 3)
    assert [("".join(group.members), group.label) for group in more.groups] == [("ab", 0), ("f", 1), ("c", 2)]


@pytest.mark.parametrize("seed", range(20))
def test_ids_follow_the_rule_for_any_changes(seed: int):
    rng = np.random.default_rng(seed)
    letters = np.array([f"{k:03d}" for k in range(60)])
    history: tuple[ClassEvent, ...] = ()
    before: tuple[Group, ...] = ()
    seen: set[str] = set()
    for revision in range(1, 6):
        chosen = np.sort(rng.choice(letters, rng.integers(20, 60), replace=False))
        labels = rng.integers(0, 12, len(chosen))
        parts = sorted(tuple(chosen[labels == k].tolist()) for k in np.unique(labels))
        groups = tuple(Group(group_id(part[0]), k, part, part[0], 1.0) for k, part in enumerate(parts))
        named = carry_ids(groups, before, history, revision)
        ids = [group.id for group in named.groups]
        assert len(set(ids)) == len(ids)
        assert [group.label for group in named.groups] == list(range(len(ids)))
        assert {group.members for group in named.groups} == set(parts)
        assert named == carry_ids(groups[::-1], before, history, revision)
        old = {group.id: set(group.members) for group in before}
        holder = {member: group.id for group in named.groups for member in group.members}
        for identifier, members in old.items():
            heirs = {holder[member] for member in members if member in holder}
            if identifier in ids:
                assert identifier in heirs
            else:  # every class that has structures of it has an id that has more claim
                assert heirs <= set(ids)
                assert all(heir in old for heir in heirs)
        assert not (set(ids) - set(old)) & seen
        seen |= set(ids)
        gone = {event.class_id for event in named.events if event.event in ("merged", "retired")}
        come = {event.class_id for event in named.events if event.event in ("added", "split")}
        if before:
            assert gone == set(old) - set(ids)
            assert come == set(ids) - set(old)
        before, history = named.groups, (*history, *named.events)
