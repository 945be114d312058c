"""Which structures of the catalogue a run uses."""

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import get_args

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.catalog.rows import Summary
from hpc_mlsm.errors import CatalogueError, ConfigError
from hpc_mlsm.structures.chemistry import Chemistry
from hpc_mlsm.structures.element_filter import ElementFilter
from hpc_mlsm.structures.labels import CRYSTAL_SYSTEMS


@dataclass(frozen=True, slots=True)
class Selection(ElementFilter):
    """Rules that a structure must all satisfy; an empty set or None rules nothing out.

    Attributes
    ----------
    max_atoms : int, optional
        Largest number of atoms in the cell, partly occupied ones included.
    min_axis, max_axis : float, optional
        Shortest and longest cell axis (Å) that a structure may have.
    max_r_factor : float, optional
        Largest R factor (0.1 for 10 %); structures that state none pass.
    chemistry : frozenset of str
        Where not empty: kinds that are wanted, of organic, inorganic and metal_organic.
    systems : frozenset of str
        Where not empty: crystal systems that are wanted.

    Raises
    ------
    ConfigError
        If a symbol is no element, a number no space group, or nothing could satisfy the rules.
    """

    max_atoms: int | None = None
    min_axis: float | None = None
    max_axis: float | None = None
    max_r_factor: float | None = None
    chemistry: frozenset[str] = frozenset()
    systems: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        ElementFilter.__post_init__(self)
        if self.max_atoms is not None and self.max_atoms < 1:
            raise ConfigError(f"max_atoms: found {self.max_atoms}, expected at least 1")
        for key in ("min_axis", "max_axis", "max_r_factor"):
            value = getattr(self, key)
            if value is not None and not value > 0.0:
                raise ConfigError(f"{key}: found {value}, expected more than 0")
        if self.min_axis is not None and self.max_axis is not None and self.min_axis > self.max_axis:
            raise ConfigError(f"min_axis = {self.min_axis} is above max_axis = {self.max_axis}; nothing could pass")
        if self.max_r_factor is not None and self.max_r_factor > 1.0:
            raise ConfigError(f"max_r_factor: found {self.max_r_factor}, expected a fraction such as 0.1 for 10 %")
        _refuse_unknown("chemistry", self.chemistry, get_args(Chemistry))
        _refuse_unknown("systems", self.systems, CRYSTAL_SYSTEMS)


DATA_SETS: dict[str, frozenset[str]] = {
    "full": frozenset(),
    "organic": frozenset({"organic", "metal_organic"}),
    "inorganic": frozenset({"inorganic"}),
}
"""The published three data sets, as ``Selection.chemistry``; metal–organic compounds count with the organic ones."""


def data_set(selection: Selection, name: str) -> Selection:
    """A selection narrowed to one of DATA_SETS.

    Raises
    ------
    ConfigError
        If there is no such set.
    """
    _refuse_unknown("data set", {name}, tuple(DATA_SETS))
    return replace(selection, chemistry=DATA_SETS[name])


@dataclass(frozen=True)
class SelectionResult:
    """Ids that satisfy all rules, ordered; and after each rule in turn, how many structures were left."""

    ids: tuple[str, ...]
    left_after: dict[str, int]

    @property
    def removed(self) -> dict[str, int]:
        """How many structures each rule took out of those that the rules before it had left."""
        return {rule: before - after for (_, before), (rule, after) in pairwise(self.left_after.items())}


def exclusions(catalogue: Catalogue, found: SelectionResult) -> dict[str, int]:
    """Everything that is not used, by reason: refused by ingest (such as ``no_atoms``), then by rule of a selection."""
    return catalogue.counts().by_reason | found.removed


def select_keys(catalogue: Catalogue, selection: Selection) -> SelectionResult:
    """Ids of the structures that satisfy a selection.

    Raises
    ------
    CatalogueError
        If the catalogue is empty, or a rule leaves nothing; the message names the rule.
    """
    left = list(catalogue.summaries())
    if not left:
        raise CatalogueError(f"catalogue {catalogue.path} holds no structures; look at its rejects, or ingest some")
    counts = {"catalogue": len(left)}
    for rule, (wanted, passes) in _rules(selection).items():
        before = len(left)
        left = [summary for summary in left if passes(summary)]
        counts[rule] = len(left)
        if not left:
            raise CatalogueError(f"select.{rule} = {wanted} leaves none of {before} structures; relax this rule")
    return SelectionResult(tuple(summary.id for summary in left), counts)


def _rules(selection: Selection) -> dict[str, tuple[str, Callable[[Summary], bool]]]:
    """The rules that are set: name → value in words, test."""
    rules: dict[str, tuple[str, Callable[[Summary], bool]]] = {}
    if selection.required:
        rules["required"] = _words(selection.required), lambda s: selection.required <= set(s.elements)
    if selection.allowed:
        rules["allowed"] = _words(selection.allowed), lambda s: selection.allowed >= set(s.elements)
    if selection.excluded:
        rules["excluded"] = _words(selection.excluded), lambda s: selection.excluded.isdisjoint(s.elements)
    if selection.space_groups:
        rules["space_groups"] = _words(selection.space_groups), lambda s: s.space_group in selection.space_groups
    limit = selection.max_atoms
    if limit is not None:
        rules["max_atoms"] = str(limit), lambda s: s.n_atoms <= limit
    shortest, longest, r_factor = selection.min_axis, selection.max_axis, selection.max_r_factor
    if shortest is not None:
        rules["min_axis"] = f"{shortest:g}", lambda s: min(s.a, s.b, s.c) >= shortest
    if longest is not None:
        rules["max_axis"] = f"{longest:g}", lambda s: max(s.a, s.b, s.c) <= longest
    if r_factor is not None:
        rules["max_r_factor"] = f"{r_factor:g}", lambda s: s.r_factor is None or s.r_factor <= r_factor
    if selection.chemistry:
        rules["chemistry"] = _words(selection.chemistry), lambda s: s.chemistry in selection.chemistry
    if selection.systems:
        rules["systems"] = _words(selection.systems), lambda s: s.crystal_system in selection.systems
    return rules


def _refuse_unknown(key: str, found: Set[str], known: Sequence[str]) -> None:
    wrong = sorted(found - set(known))
    if wrong:
        raise ConfigError(f"{key}: {', '.join(wrong)} is not known; there are {', '.join(known)}")


def _words(values: Iterable[str | int]) -> str:
    return ", ".join(str(value) for value in sorted(values, key=str))
