"""Ids of classes that stay the same while structures come and go, and the history of those that do not.

A class keeps its id while it keeps a member. Where classes merge or split, more than one id has a claim on a class, or
one id on more than one class: claims are then met in the order of the structures that they rest on, most first, of
equals that of the smallest class id, then of the smallest structure id; each class gets one id, and each id one class.
So of merged classes the one that brings most structures lives on, and of the parts of a split class the largest.
An id that was given up is never given again.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

from hpc_mlsm.grouping.groups import ClassEvent, Group, group_id


@dataclass(frozen=True)
class Named:
    """Groups with their lasting ids, by label, and what became of the classes before."""

    groups: tuple[Group, ...]
    events: tuple[ClassEvent, ...]


def carry_ids(groups: Sequence[Group], before: Sequence[Group], history: Sequence[ClassEvent], revision: int) -> Named:
    """Give groups the ids of the classes that they continue.

    Classes that go on keep their order, new ones follow by their smallest member: where no class came or went, labels
    are those of before too.

    Parameters
    ----------
    groups
        As `build_groups` gives them.
    before
        The classes before, by label; empty at the first time.
    history
        Of all groupings before, for the ids that were given up.
    revision
        Number of this grouping.
    """
    groups = sorted(groups, key=lambda group: group.members[0])
    if not before:
        return Named(tuple(groups), ())
    shared = _shared(groups, before)
    kept = _claims(groups, before, shared)
    used = {group.id for group in before} | {event.class_id for event in history}
    new: dict[int, str] = {}
    for number, group in enumerate(groups):
        if number not in kept:
            new[number] = _unused(group.members[0], used)
            used.add(new[number])
    rank = {group.id: place for place, group in enumerate(before)}
    order = sorted(range(len(groups)), key=lambda k: (rank.get(kept.get(k, ""), len(rank)), groups[k].members[0]))
    named = tuple(replace(groups[k], id=kept.get(k) or new[k], label=label) for label, k in enumerate(order))
    ids = {k: kept.get(k) or new[k] for k in range(len(groups))}
    return Named(named, tuple(_events(groups, before, shared, ids, revision)))


def _shared(groups: Sequence[Group], before: Sequence[Group]) -> dict[tuple[int, int], int]:
    """How many structures a class before and a group have in common, where there are any."""
    old = {member: number for number, group in enumerate(before) for member in group.members}
    shared: dict[tuple[int, int], int] = defaultdict(int)
    for number, group in enumerate(groups):
        for member in group.members:
            if member in old:
                shared[old[member], number] += 1
    return dict(shared)


def _claims(groups: Sequence[Group], before: Sequence[Group], shared: dict[tuple[int, int], int]) -> dict[int, str]:
    """The id that each group takes over, where it does."""
    kept: dict[int, str] = {}
    taken: set[int] = set()
    claims = sorted(shared, key=lambda pair: (-shared[pair], before[pair[0]].id, groups[pair[1]].members[0]))
    for old, number in claims:
        if old not in taken and number not in kept:
            kept[number] = before[old].id
            taken.add(old)
    return kept


def _unused(member: str, used: set[str]) -> str:
    names = (group_id(member if k == 1 else f"{member} ({k})") for k in count(1))
    return next(name for name in names if name not in used)


def _events(
    groups: Sequence[Group],
    before: Sequence[Group],
    shared: dict[tuple[int, int], int],
    ids: dict[int, str],
    revision: int,
) -> list[ClassEvent]:
    """What became of classes, in the order of those before; then where the new ones come from."""
    living, old_ids = set(ids.values()), {group.id for group in before}
    into: dict[int, list[int]] = defaultdict(list)
    out_of: dict[int, list[int]] = defaultdict(list)
    for old, number in sorted(shared):
        into[old].append(number)
        out_of[number].append(old)
    events: list[ClassEvent] = []
    for old, group in enumerate(before):
        if not into[old]:
            events.append(ClassEvent(revision, "retired", group.id, (), len(group)))
        elif group.id not in living:
            left = sum(shared[old, number] for number in into[old])
            others = tuple(sorted(ids[number] for number in into[old]))
            events.append(ClassEvent(revision, "merged", group.id, others, left))
        else:
            events += [
                ClassEvent(revision, "moved", group.id, (ids[number],), shared[old, number])
                for number in into[old]
                if ids[number] != group.id and ids[number] in old_ids
            ]
    for number, group in enumerate(groups):
        if ids[number] not in old_ids:
            others = tuple(sorted(before[old].id for old in out_of[number]))
            events.append(ClassEvent(revision, "split" if others else "added", ids[number], others, len(group)))
    return events
