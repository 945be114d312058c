"""What changed between two states of a catalogue."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class CatalogueState:
    """A catalogue as far as a comparison needs it.

    Attributes
    ----------
    structures
        Id → content hash.
    rejects
        Id → reason, of what was refused and has no structure of that id.
    """

    structures: Mapping[str, str]
    rejects: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CatalogueDiff:
    """Differences between two states; all tuples are ordered by id.

    Attributes
    ----------
    added
        Structures of the second state whose id is not in the first, neither as a structure nor as a reject.
    changed
        Structures whose cell, symmetry or atoms differ.
    withdrawn
        Structures of the first state that have left: the second knows nothing of their id.
    rejected
        Structures of the first state that the second refuses, each with its reason.
    accepted
        Structures of the second state that the first had refused.
    refused
        Ids unknown to the first state that the second refuses, each with its reason.
    unchanged
        How many structures are the same.
    """

    added: tuple[str, ...]
    changed: tuple[str, ...]
    withdrawn: tuple[str, ...]
    rejected: tuple[tuple[str, str], ...]
    accepted: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    unchanged: int

    @property
    def to_compute(self) -> tuple[str, ...]:
        """Ids whose patterns have to be computed: added, accepted and changed ones."""
        return tuple(sorted((*self.added, *self.accepted, *self.changed)))

    @property
    def to_drop(self) -> tuple[str, ...]:
        """Ids whose patterns no longer count: withdrawn and newly rejected ones."""
        return tuple(sorted((*self.withdrawn, *(identity for identity, _ in self.rejected))))

    @property
    def is_empty(self) -> bool:
        """Whether the two states are the same."""
        return not (self.to_compute or self.to_drop or self.refused)


def diff_states(first: CatalogueState, second: CatalogueState) -> CatalogueDiff:
    """Differences from the first state to the second."""
    before, after = first.structures, second.structures
    new, gone = after.keys() - before.keys(), before.keys() - after.keys()
    both = after.keys() & before.keys()
    changed = sorted(identity for identity in both if after[identity] != before[identity])
    unknown = second.rejects.keys() - first.rejects.keys() - before.keys()
    return CatalogueDiff(
        added=tuple(sorted(new - first.rejects.keys())),
        changed=tuple(changed),
        withdrawn=tuple(sorted(gone - second.rejects.keys())),
        rejected=_with_reasons(gone & second.rejects.keys(), second.rejects),
        accepted=tuple(sorted(new & first.rejects.keys())),
        refused=_with_reasons(unknown, second.rejects),
        unchanged=len(both) - len(changed),
    )


def _with_reasons(ids: set[str], reasons: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((identity, reasons[identity]) for identity in sorted(ids))
