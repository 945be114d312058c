"""Rules on elements and space group: what is known of a sample, or wanted of a catalogue."""

from collections.abc import Iterable
from dataclasses import dataclass

import gemmi

from hpc_mlsm.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ElementFilter:
    """Which structures are wanted, by their elements and space group.

    Attributes
    ----------
    required : frozenset of str
        Elements that must all be in the structure.
    allowed : frozenset of str
        Where not empty: a structure may hold no other elements.
    excluded : frozenset of str
        Elements that must not be in the structure.
    space_groups : frozenset of int
        Where not empty: the structure's space group must be one of these numbers.

    Raises
    ------
    ConfigError
        If a symbol is no element, a number no space group, or the parts contradict each other.
    """

    required: frozenset[str] = frozenset()
    allowed: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()
    space_groups: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        for key in ("required", "allowed", "excluded"):
            _check_elements(key, getattr(self, key))
        wrong = sorted(str(number) for number in self.space_groups if number not in range(1, 231))
        if wrong:
            raise ConfigError(f"space_groups: {', '.join(wrong)} is no space group; numbers are 1 to 230")
        _refuse_contradiction(self.required & self.excluded, "required and excluded")
        if self.allowed:
            _refuse_contradiction(self.required - self.allowed, "required but not among the allowed")

    def admits(self, elements: frozenset[str], space_group: int) -> bool:
        """Whether a structure of these elements and this space group may be an answer."""
        return (
            self.required <= elements
            and (not self.allowed or elements <= self.allowed)
            and not self.excluded & elements
            and (not self.space_groups or space_group in self.space_groups)
        )

    def describe(self) -> str:
        """The filter in words, such as ``"required Fe, O; space groups 227"``; "no filter" where it is empty."""
        parts = [
            f"{name} {', '.join(map(str, sorted(values)))}"
            for name, values in (
                ("required", self.required),
                ("allowed", self.allowed),
                ("excluded", self.excluded),
            )
            if values
        ]
        if self.space_groups:
            parts.append(f"space groups {', '.join(map(str, sorted(self.space_groups)))}")
        return "; ".join(parts) or "no filter"


def _check_elements(key: str, symbols: Iterable[str]) -> None:
    for symbol in sorted(symbols):
        element = gemmi.Element(symbol)
        if element.atomic_number == 0:
            raise ConfigError(f"{key}: {symbol!r} is no element; write symbols such as Fe or O")
        if element.name != symbol:
            raise ConfigError(f"{key}: {symbol!r} is no element symbol; write {element.name!r}")


def _refuse_contradiction(elements: frozenset[str], what: str) -> None:
    if elements:
        raise ConfigError(f"{', '.join(sorted(elements))} is {what}; nothing could pass, drop one of them")
