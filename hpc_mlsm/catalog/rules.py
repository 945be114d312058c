"""A selection as conditions in SQL, one for each rule that is set, in the order in which they are counted."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from hpc_mlsm.catalog.selection import Selection
from hpc_mlsm.structures.labels import CRYSTAL_SYSTEMS, system_index

Test = Callable[[str], bool]


@dataclass(frozen=True)
class Rule:
    """One rule: its name and value in words, and its condition on a row of the table of structures.

    ``tests`` are functions of the column ``elements`` that the condition calls by their names.
    """

    name: str
    words: str
    condition: str
    tests: dict[str, Test] = field(default_factory=dict)


def rules_of(selection: Selection) -> list[Rule]:
    """The rules that are set."""
    return [*_of_elements(selection), *_of_symmetry(selection), *_of_sizes(selection), *_of_record(selection)]


def _of_elements(selection: Selection) -> Iterator[Rule]:
    if selection.required:
        # The table of elements leads to the rows, so that rare elements are found without looking at all others.
        first, *others = sorted(selection.required)
        conditions = [f"key IN (SELECT structure FROM structure_elements WHERE element = '{first}')"]
        conditions += [
            f"EXISTS (SELECT 1 FROM structure_elements WHERE element = '{symbol}' AND structure = key)"
            for symbol in others
        ]
        yield Rule("required", _words(selection.required), " AND ".join(conditions))
    if selection.allowed:
        allowed = _test(lambda held: held <= selection.allowed)
        yield Rule("allowed", _words(selection.allowed), "allowed(elements)", {"allowed": allowed})
    if selection.excluded:
        excluded = _test(lambda held: not held & selection.excluded)
        yield Rule("excluded", _words(selection.excluded), "excluded(elements)", {"excluded": excluded})
    if selection.one_of:
        one_of = _test(lambda held: all(held & words for words in selection.one_of))
        yield Rule("one_of", "; ".join(map(_words, selection.one_of)), "one_of(elements)", {"one_of": one_of})


def _test(test: Callable[[frozenset[str]], bool]) -> Test:
    @lru_cache(maxsize=100_000)
    def of_text(elements: str) -> bool:
        return test(frozenset(elements.split()))

    return of_text


def _of_symmetry(selection: Selection) -> Iterator[Rule]:
    if selection.space_groups:
        yield Rule("space_groups", _words(selection.space_groups), _among("space_group", selection.space_groups))
    if selection.systems:
        numbers = [n for n in range(1, 231) if CRYSTAL_SYSTEMS[system_index(n)] in selection.systems]
        yield Rule("systems", _words(selection.systems), _among("space_group", numbers))


def _of_sizes(selection: Selection) -> Iterator[Rule]:
    columns = {
        "min_atoms": "n_atoms >= {}",
        "max_atoms": "n_atoms <= {}",
        "min_axis": "min(a, b, c) >= {}",
        "max_axis": "max(a, b, c) <= {}",
        "min_volume": "volume >= {}",
        "max_volume": "volume <= {}",
        "min_year": "(year IS NULL OR year >= {})",
        "max_year": "(year IS NULL OR year <= {})",
        "max_r_factor": "(r_factor IS NULL OR r_factor <= {})",
    }
    for name, condition in columns.items():
        value = getattr(selection, name)
        if value is not None:
            yield Rule(name, f"{value:g}", condition.format(repr(value)))


def _of_record(selection: Selection) -> Iterator[Rule]:
    if selection.chemistry:
        kinds = ", ".join(f"'{kind}'" for kind in sorted(selection.chemistry))
        yield Rule("chemistry", _words(selection.chemistry), f"chemistry IN ({kinds})")
    if selection.without:
        absent = (f"instr(flags, '{flag}') = 0" for flag in sorted(selection.without))
        yield Rule("without", _words(selection.without), f"(flags = '' OR ({' AND '.join(absent)}))")
    if selection.sql:
        yield Rule("sql", selection.sql, f"({selection.sql}\n)")


def _among(column: str, numbers: Iterable[int]) -> str:
    return f"{column} IN ({', '.join(str(int(number)) for number in sorted(numbers))})"


def _words(values: Iterable[str | int]) -> str:
    return ", ".join(str(value) for value in sorted(values, key=str))
