"""Which structures of the catalogue a run uses."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.catalog.duplicates import find_duplicates
from hpc_mlsm.catalog.rules import Rule, rules_of
from hpc_mlsm.catalog.selection import Selection
from hpc_mlsm.errors import CatalogueError


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
    ConfigError
        If the condition in SQL is none.
    """
    rules = rules_of(selection)
    counts = count_rules(catalogue, rules)
    if not counts["catalogue"]:
        raise CatalogueError(f"catalogue {catalogue.path} holds no structures; look at its rejects, or ingest some")
    for (_, before), rule in zip(counts.items(), rules, strict=False):
        if not counts[rule.name]:
            left = f"select.{rule.name} = {rule.words} leaves none of {before} structures"
            raise CatalogueError(f"{left}; relax this rule")
    where = " AND ".join(rule.condition for rule in rules) or "true"
    ids = [row[0] for row in catalogue.rows(f"SELECT id FROM structures WHERE {where} ORDER BY id")]
    if selection.duplicates == "merge":
        merged = {identity for group in find_duplicates(catalogue, ids) for identity in group.others}
        ids = [identity for identity in ids if identity not in merged]
        counts["duplicates"] = len(ids)
    return SelectionResult(tuple(ids), counts)


def count_rules(catalogue: Catalogue, rules: Sequence[Rule]) -> dict[str, int]:
    """How many structures there are, and how many are left after each rule in turn; one pass over those that count."""
    catalogue.check_conditions({rule.name: rule.condition for rule in rules}, _tests(rules))
    counts = {"catalogue": catalogue.number_of_structures()}
    if not rules:
        return counts
    # The first rule's condition may be answered by an index; what it leaves is looked at row by row.
    first, others = rules[0], rules[1:]
    cases = " ".join(f"WHEN ({rule.condition}) IS NOT TRUE THEN {place}" for place, rule in enumerate(others))
    failing = f"CASE {cases} END" if others else "NULL"
    query = f"SELECT {failing}, count(*) FROM structures WHERE {first.condition} GROUP BY 1"
    stopped = dict(catalogue.rows(query))
    counts[first.name] = left = sum(stopped.values())
    for place, rule in enumerate(others):
        left -= stopped.get(place, 0)
        counts[rule.name] = left
    return counts


def _tests(rules: Sequence[Rule]) -> dict[str, object]:
    return {name: test for rule in rules for name, test in rule.tests.items()}
