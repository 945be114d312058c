"""Groups of structures whose base patterns correlate: what a classifier calls a class."""

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.durable import write_durably
from hpc_mlsm.errors import StoreError
from hpc_mlsm.grouping.blocks import Rows, read_block
from hpc_mlsm.grouping.edge_file import read_edges, write_edges
from hpc_mlsm.grouping.edges import Edges
from hpc_mlsm.grouping.lowest import Lowest, Part
from hpc_mlsm.grouping.settings import GroupSettings
from hpc_mlsm.grouping.within import LARGE, inner_correlations

FORMAT, VERSION = "hpc_mlsm groups", 3

READABLE = (2, 3)
"""Versions; in the second, groups do not name the two members that are the least alike."""

TIE = 1e-9
"""Mean correlations closer than this are equal; far above float64 rounding, far below what a measurement resolves."""


@dataclass(frozen=True, slots=True)
class Group:
    """Structures that a classifier does not tell apart.

    Parameters
    ----------
    id : str
        Stays the same as long as it keeps a member, see ``identity``.
    label : int
        Index of the class, 0 to K - 1; new groups are numbered by their smallest member id.
    members : tuple of str
        Structure ids, sorted.
    representative : str
        The member with the highest mean correlation to the others; of equals the one with the smallest id.
    min_correlation : float
        Smallest Pearson correlation between any two members, 1 for a group of one. Under single linkage it may lie
        far below the threshold.
    least_alike : tuple of str
        Two members with that correlation; empty for a group of one, and where it is not known. Of several such pairs
        it may be any, so that groups are equal whatever it is.
    """

    id: str
    label: int
    members: tuple[str, ...]
    representative: str
    min_correlation: float
    least_alike: tuple[str, ...] = field(default=(), compare=False)

    def __len__(self) -> int:
        return len(self.members)


@dataclass(frozen=True, slots=True)
class ClassEvent:
    """What became of a class when structures came, changed or went.

    Attributes
    ----------
    revision : int
        Number of the grouping, counted from 1, that it happened in.
    event : str
        ``added``: a new class, of structures that were in none. ``split``: a new class, of structures of other classes
        (``others``), which keep their ids. ``merged``: the class is gone, what was left of it is in others.
        ``retired``: the class is gone with its last structure. ``moved``: some structures have gone to another class,
        and both stay.
    class_id : str
    others : tuple of str
        Ids of the classes that the structures come from, or are in now.
    structures : int
        How many structures it is about.
    """

    revision: int
    event: Literal["added", "split", "merged", "retired", "moved"]
    class_id: str
    others: tuple[str, ...]
    structures: int


@dataclass(frozen=True)
class SavedGroups:
    """What `save_groups` wrote: the groups, the edges between rows, how they were made, and from what.

    Rows are the structures of all groups ordered by id; ``digests`` are those of their patterns. ``history`` tells of
    all classes that came and went since the first grouping, ``revision`` counts the groupings.
    """

    groups: tuple[Group, ...]
    edges: Edges
    settings: GroupSettings
    fingerprint: str
    digests: tuple[str, ...] = ()
    history: tuple[ClassEvent, ...] = ()
    revision: int = 1

    @property
    def ids(self) -> list[str]:
        """Ids of the structures, by row."""
        return sorted(member for group in self.groups for member in group.members)


def group_id(smallest_member: str) -> str:
    """Id of a new group whose smallest member id this is."""
    return "g-" + hashlib.sha256(smallest_member.encode()).hexdigest()[:16]


def build_groups(
    ids: Sequence[str],
    labels: NDArray[np.integer],
    rows: Rows,
    *,
    memory_bytes: int = 2**30,
    before: Sequence[Group] = (),
    known: Collection[str] = (),
) -> tuple[Group, ...]:
    """Make groups from the labels of a linkage, and measure how alike their members are.

    Parameters
    ----------
    ids : sequence of str
        Id of the structure in each row; no two alike.
    labels : array (n,)
        Which structures belong together; the values themselves do not matter.
    rows : callable
        ``rows(start, stop)`` returns the base patterns, float32 (stop - start, points).
    memory_bytes : int
        Memory to keep to.
    before : sequence of Group, optional
        Groups of earlier. What they say of members that are known is not measured again.
    known : collection of str, optional
        Ids of structures whose patterns are still those of earlier.

    Returns
    -------
    tuple of Group
        In the order of their labels; the same for any order of the rows.

    Raises
    ------
    StoreError
        If ids repeat, or there are not as many labels as ids, or ``rows`` does not return the rows asked for.
    """
    members = _members(ids, labels)
    names = [tuple(ids[row] for row in group) for group in members]
    earlier = _Earlier(before, known)
    new = [(group, own) for group, own in zip(members, names, strict=True) if len(own) > 1 and own not in earlier.same]
    found: Iterator[tuple[NDArray[np.float64], Lowest]] = iter(())
    if new:
        points = read_block(rows, 0, 1).shape[1]
        parts = [earlier.parts(own) for _, own in new]
        found = inner_correlations(rows, [group for group, _ in new], points, memory_bytes, parts)
    groups = []
    for label, own in enumerate(names):
        if own in earlier.same:
            groups.append(replace(earlier.same[own], id=group_id(own[0]), label=label))
            continue
        if len(own) == 1:
            groups.append(Group(group_id(own[0]), label, own, own[0], 1.0))
            continue
        mean, lowest = next(found)
        representative = own[int(np.flatnonzero(mean >= mean.max() - TIE)[0])]
        correlation = min(max(lowest.correlation, -1.0), 1.0)
        pair = (own[lowest.first], own[lowest.second])
        groups.append(Group(group_id(own[0]), label, own, representative, correlation, pair))
    return tuple(groups)


class _Earlier:
    """What groups of earlier say of structures whose patterns are still the same."""

    def __init__(self, before: Sequence[Group], known: Collection[str]) -> None:
        self._before = before
        self.same = {group.members: group for group in before if all(member in known for member in group.members)}
        self._group_of = {
            member: number for number, group in enumerate(before) for member in group.members if member in known
        }

    def parts(self, own: Sequence[str]) -> list[Part]:
        """Members that were in one group, where the two that were the least alike are still among them.

        Empty for a group that is measured sooner than these are found.
        """
        if len(own) <= LARGE:
            return []
        numbers: dict[int, list[int]] = {}
        for number, member in enumerate(own):
            if member in self._group_of:
                numbers.setdefault(self._group_of[member], []).append(number)
        parts = []
        for group, of_group in numbers.items():
            pair = self._before[group].least_alike
            place = {own[number]: number for number in of_group} if pair else {}
            if pair and all(member in place for member in pair):
                lowest = Lowest(self._before[group].min_correlation, *sorted(place[member] for member in pair))
                parts.append(Part(np.array(of_group, np.int64), lowest))
        return parts


def save_groups(folder: Path, saved: SavedGroups) -> None:
    """Write groups.json and the file of edges that it names.

    The JSON is moved into place last; until then whatever was saved before stays valid.

    Parameters
    ----------
    folder : Path
        Made if it does not exist.
    saved : SavedGroups
        Groups, edges between rows, and what they were made from.

    Raises
    ------
    StoreError
        If the files cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder} cannot be made: {error}; choose another run directory") from error
    name, checksum = write_edges(folder, saved.edges, saved.digests)
    content = {
        "fingerprint": saved.fingerprint,
        "settings": asdict(saved.settings),
        "edges": {"file": name, "sha256": checksum, "count": len(saved.edges)},
        "revision": saved.revision,
        "history": [asdict(event) for event in saved.history],
        "groups": [{name: getattr(group, name) for name in Group.__dataclass_fields__} for group in saved.groups],
    }
    # On one line: with an indent, Python takes ten times as long to write it.
    text = json.dumps({"format": FORMAT, "version": VERSION, "checksum": _checksum(content), "content": content})
    write_durably(folder / "groups.json", text.encode())
    for old in [*folder.glob("edges-*.h5"), *folder.glob(".edges-*.tmp")]:
        if old.name != name:
            old.unlink(missing_ok=True)


def load_groups(folder: Path) -> SavedGroups:
    """Read what `save_groups` wrote, and check that all of it is there and unaltered.

    Raises
    ------
    StoreError
        If a file is missing, unreadable, altered, or of another version.
    """
    path = folder / "groups.json"
    remedy = "run the group stage again"
    try:
        saved = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise StoreError(f"{path} does not exist: {remedy}") from error
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}; {remedy}") from error
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise StoreError(f"{path} is not a file of groups; {remedy}")
    if saved.get("version") not in READABLE:
        raise StoreError(f"{path} has version {saved.get('version')}, and version {VERSION} is needed; {remedy}")
    content: Any = saved.get("content")
    if saved.get("checksum") != _checksum(content):
        raise StoreError(f"{path} has been altered: its checksum does not fit its content; {remedy}")
    edges, digests = read_edges(folder / content["edges"]["file"], content["edges"]["sha256"])
    return SavedGroups(
        groups=tuple(_group(raw) for raw in content["groups"]),
        edges=edges,
        settings=GroupSettings(**content["settings"]),
        fingerprint=content["fingerprint"],
        digests=digests,
        history=tuple(class_event(event) for event in content["history"]),
        revision=content["revision"],
    )


def _group(raw: dict[str, Any]) -> Group:
    pairs = {name: tuple(raw.get(name, ())) for name in ("members", "least_alike")}
    return Group(**{**raw, **pairs})


def class_event(raw: dict[str, Any]) -> ClassEvent:
    """An event from what JSON holds of it."""
    return ClassEvent(**{**raw, "others": tuple(raw["others"])})


def _checksum(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _members(ids: Sequence[str], labels: NDArray[np.integer]) -> list[NDArray[np.int64]]:
    """Rows of each group, by id; the groups by their smallest id."""
    if len(labels) != len(ids):
        raise StoreError(f"there are {len(ids)} structures and {len(labels)} labels; each structure needs one label")
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int64)
    twice = [ids[a] for a, b in pairwise(order) if ids[a] == ids[b]]
    if twice:
        raise StoreError(
            f"structure id {twice[0]!r} stands for more than one pattern ({len(twice)} ids repeat); groups need one "
            "base pattern per structure: simulate into an empty folder"
        )
    _, first, group = np.unique(labels[order], return_index=True, return_inverse=True)
    by_first = np.argsort(np.argsort(first))[group]
    ends = np.cumsum(np.bincount(by_first))[:-1]
    return [part for part in np.split(order[np.argsort(by_first, kind="stable")], ends) if len(part)]
