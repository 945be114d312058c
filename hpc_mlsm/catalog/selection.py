"""The rules by which a run picks structures of its catalogue."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import Literal, get_args

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.structures.chemistry import Chemistry
from hpc_mlsm.structures.element_filter import ElementFilter
from hpc_mlsm.structures.element_groups import ELEMENT_GROUPS, expanded
from hpc_mlsm.structures.labels import CRYSTAL_SYSTEMS
from hpc_mlsm.structures.structure import FLAGS

_RANGES = (
    ("min_axis", "max_axis"),
    ("min_volume", "max_volume"),
    ("min_atoms", "max_atoms"),
    ("min_year", "max_year"),
)


@dataclass(frozen=True, slots=True)
class Selection(ElementFilter):
    """Rules that a structure must all satisfy; an empty set or None rules nothing out.

    Where elements are listed, a group may be named in their place: alkali_metals, alkaline_earths, transition_metals,
    post_transition_metals, lanthanides, actinides, halogens, noble_gases.

    Attributes
    ----------
    one_of : tuple of frozenset of str
        Of each of these lists a structure must hold an element.
    min_atoms, max_atoms : int, optional
        Smallest and largest number of atoms in the cell, partly occupied ones included.
    min_axis, max_axis : float, optional
        Shortest and longest cell axis (Å) that a structure may have.
    min_volume, max_volume : float, optional
        Volume of the cell (Å³).
    min_year, max_year : int, optional
        Year of publication; structures that state none pass.
    max_r_factor : float, optional
        Largest R factor (0.1 for 10 %); structures that state none pass.
    chemistry : frozenset of str
        Where not empty: kinds that are wanted, of organic, inorganic and metal_organic.
    systems : frozenset of str
        Where not empty: crystal systems that are wanted.
    without : frozenset of str
        Flags that rule a structure out, of disordered, partial_occupancy, no_hydrogens, duplicate, retracted,
        theoretical.
    sql : str
        A condition in SQL on the columns of the table of structures, such as ``density < 5 AND temperature < 100``.
    duplicates : str
        ``keep`` takes structures of the same composition, space group and cell, ``merge`` one of each such group.

    Raises
    ------
    ConfigError
        If a symbol is no element, a number no space group, or nothing could satisfy the rules.
    """

    one_of: tuple[frozenset[str], ...] = ()
    min_atoms: int | None = None
    max_atoms: int | None = None
    min_axis: float | None = None
    max_axis: float | None = None
    min_volume: float | None = None
    max_volume: float | None = None
    min_year: int | None = None
    max_year: int | None = None
    max_r_factor: float | None = None
    chemistry: frozenset[str] = frozenset()
    systems: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    sql: str = ""
    duplicates: Literal["keep", "merge"] = "keep"

    def __post_init__(self) -> None:
        for key in ("required", "allowed", "excluded"):
            object.__setattr__(self, key, expanded(getattr(self, key)))
        object.__setattr__(self, "one_of", tuple(expanded(words) for words in self.one_of))
        ElementFilter.__post_init__(self)
        for words in self.one_of:
            if not words:
                raise ConfigError(
                    f"one_of: a list is empty; name elements, or groups such as {next(iter(ELEMENT_GROUPS))}"
                )
            ElementFilter(excluded=words)
        self._check_ranges()
        if self.max_r_factor is not None and not 0.0 < self.max_r_factor <= 1.0:
            raise ConfigError(f"max_r_factor: found {self.max_r_factor}, expected a fraction such as 0.1 for 10 %")
        _refuse_unknown("chemistry", self.chemistry, get_args(Chemistry))
        _refuse_unknown("systems", self.systems, CRYSTAL_SYSTEMS)
        _refuse_unknown("without", self.without, tuple(FLAGS))

    def _check_ranges(self) -> None:
        for low_key, high_key in _RANGES:
            low, high = getattr(self, low_key), getattr(self, high_key)
            for key, value in ((low_key, low), (high_key, high)):
                if value is not None and not value > 0:
                    least = "at least 1" if key.endswith("atoms") else "more than 0"
                    raise ConfigError(f"{key}: found {value}, expected {least}")
            if low is not None and high is not None and low > high:
                raise ConfigError(f"{low_key} = {low} is above {high_key} = {high}; nothing could pass")


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


def _refuse_unknown(key: str, found: Set[str], known: Sequence[str]) -> None:
    wrong = sorted(found - set(known))
    if wrong:
        raise ConfigError(f"{key}: {', '.join(wrong)} is not known; there are {', '.join(known)}")
