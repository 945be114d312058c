"""Which structures of the catalogue a run uses."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.catalog.rows import Summary
from hpc_mlsm.errors import CatalogueError, ConfigError
from hpc_mlsm.structures.element_filter import ElementFilter


@dataclass(frozen=True, slots=True)
class Selection(ElementFilter):
    """Rules that a structure must all satisfy; an empty set or None rules nothing out.

    Attributes
    ----------
    max_atoms : int, optional
        Largest number of atoms in the cell, partly occupied ones included.

    Raises
    ------
    ConfigError
        If a symbol is no element, a number no space group, or nothing could satisfy the rules.
    """

    max_atoms: int | None = None

    def __post_init__(self) -> None:
        ElementFilter.__post_init__(self)
        if self.max_atoms is not None and self.max_atoms < 1:
            raise ConfigError(f"max_atoms: found {self.max_atoms}, expected at least 1")


@dataclass(frozen=True)
class SelectionResult:
    """Ids that satisfy all rules, ordered; and after each rule in turn, how many structures were left."""

    ids: tuple[str, ...]
    left_after: dict[str, int]


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
    return rules


def _words(values: Iterable[str | int]) -> str:
    return ", ".join(str(value) for value in sorted(values, key=str))
