"""What a classifier predicts: a class, and the structures that are its members."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from hpc_mlsm.errors import BundleError


@dataclass(frozen=True, slots=True)
class MemberEntry:
    """One structure of a class, with what a table of candidates shows of it."""

    id: str
    formula: str
    space_group: int
    space_group_symbol: str
    cod_id: int | None
    elements: frozenset[str]
    name: str


@dataclass(frozen=True, slots=True)
class ClassEntry:
    """One class: a stable id, its members, and the id of the member that stands for it."""

    class_id: str
    members: tuple[MemberEntry, ...]
    representative: str

    @property
    def representative_member(self) -> MemberEntry:
        """The member that stands for the class.

        Raises
        ------
        BundleError
            If no member has the representative's id.
        """
        for member in self.members:
            if member.id == self.representative:
                return member
        raise BundleError(
            f"class {self.class_id}: its representative {self.representative!r} is not among its "
            f"{len(self.members)} members; the class table is damaged, build the bundle again"
        )


def to_json(classes: tuple[ClassEntry, ...]) -> str:
    """Text that ``from_json`` reads back to equal classes, in the same order."""
    raw = [asdict(entry) for entry in classes]
    for entry in raw:
        for member in entry["members"]:
            member["elements"] = sorted(member["elements"])
    return json.dumps(raw, ensure_ascii=False, separators=(",", ":"))


def from_json(text: str) -> tuple[ClassEntry, ...]:
    """The classes that ``to_json`` wrote.

    Raises
    ------
    BundleError
        If the text is no table of classes: truncated, of another layout, with a class id twice, or with a
        representative that is not a member.
    """
    try:
        classes = tuple(_entry(raw) for raw in json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BundleError(
            f"the class table cannot be read ({type(error).__name__}: {error}); a list of classes with "
            "class_id, members and representative was expected; build the bundle again"
        ) from error
    seen: set[str] = set()
    for entry in classes:
        if entry.class_id in seen:
            raise BundleError(f"the class table holds class {entry.class_id!r} twice; build the bundle again")
        seen.add(entry.class_id)
        _ = entry.representative_member
    return classes


def _entry(raw: dict[str, Any]) -> ClassEntry:
    members = tuple(MemberEntry(**{**member, "elements": frozenset(member["elements"])}) for member in raw["members"])
    return ClassEntry(str(raw["class_id"]), members, str(raw["representative"]))
