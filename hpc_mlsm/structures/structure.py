"""The crystal structure as the rest of the package sees it."""

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Self

import gemmi
import numpy as np
from numpy.typing import NDArray

AVOGADRO = 6.02214076e23


@dataclass(frozen=True, slots=True)
class Cell:
    """Unit-cell lengths (Å) and angles (degree)."""

    a: float
    b: float
    c: float
    alpha: float
    beta: float
    gamma: float

    @property
    def metric(self) -> NDArray[np.float64]:
        """Metric tensor, shape (3, 3), Å²: the dot products of the cell vectors."""
        lengths = np.array([self.a, self.b, self.c])
        cosines = np.cos(np.radians([self.alpha, self.beta, self.gamma]))
        shape = np.array(
            [
                [1.0, cosines[2], cosines[1]],
                [cosines[2], 1.0, cosines[0]],
                [cosines[1], cosines[0], 1.0],
            ]
        )
        return np.outer(lengths, lengths) * shape

    @property
    def volume(self) -> float:
        """Cell volume, Å³."""
        return float(np.sqrt(max(np.linalg.det(self.metric), 0.0)))

    @property
    def parameters(self) -> tuple[float, float, float, float, float, float]:
        """(a, b, c, alpha, beta, gamma)."""
        return (self.a, self.b, self.c, self.alpha, self.beta, self.gamma)


@dataclass(frozen=True, slots=True)
class Site:
    """One site of the asymmetric unit; u_iso and u_aniso (U11, U22, U33, U12, U13, U23) in Å², None where unknown."""

    label: str
    element: str
    x: float
    y: float
    z: float
    occupancy: float = 1.0
    u_iso: float | None = None
    u_aniso: tuple[float, float, float, float, float, float] | None = None


@dataclass(frozen=True)
class UnitCell:
    """All atoms of one cell, as arrays over N atoms.

    ``site`` says which asymmetric site an atom comes from; atoms of one site are symmetry equivalent and lie together,
    in the order of the sites. ``u_iso`` (Å²) is NaN where the structure gives none.
    """

    fractional: NDArray[np.float64]
    numbers: NDArray[np.int64]
    occupancy: NDArray[np.float64]
    u_iso: NDArray[np.float64]
    site: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True)
class Structure:
    """One crystal: cell, symmetry operations, asymmetric unit, and where it comes from.

    ``operations`` are coordinate triplets ("-x,y+1/2,z") of the whole group, centring included, identity first;
    they rule. ``space_group`` (number) and ``space_group_symbol`` (Hermann-Mauguin, with setting) name them.
    """

    id: str
    name: str
    cell: Cell
    space_group: int
    space_group_symbol: str
    operations: tuple[str, ...]
    sites: tuple[Site, ...]
    cod_id: int | None = None
    source: str = ""
    notes: tuple[str, ...] = field(default=())

    @cached_property
    def unit_cell(self) -> UnitCell:
        """All atoms of one cell."""
        from hpc_mlsm.structures.symmetry import expand  # noqa: PLC0415  (symmetry needs the types above)

        return expand(self)

    @cached_property
    def composition(self) -> dict[str, float]:
        """Atoms of each element in one cell, occupancy weighted, by atomic number."""
        counts: Counter[int] = Counter()
        for number, occupancy in zip(self.unit_cell.numbers, self.unit_cell.occupancy, strict=True):
            counts[int(number)] += occupancy
        return {gemmi.Element(number).name: counts[number] for number in sorted(counts)}

    @cached_property
    def formula(self) -> str:
        """Reduced formula, elements in Hill order, such as ``"CoFe2O4"``."""
        return reduced_formula(self.composition)

    @property
    def elements(self) -> frozenset[str]:
        """Symbols of the elements in the structure."""
        return frozenset(site.element for site in self.sites)

    @property
    def density(self) -> float:
        """Mass density, g/cm³."""
        mass = sum(gemmi.Element(symbol).weight * n for symbol, n in self.composition.items())
        return mass / (self.cell.volume * 1e-24 * AVOGADRO)

    @property
    def crystal_system(self) -> str:
        """Crystal system of the space group: triclinic … cubic."""
        return str(gemmi.find_spacegroup_by_number(self.space_group).crystal_system_str())

    @cached_property
    def content_hash(self) -> str:
        """Hash of what the patterns depend on: cell, operations and sites; not of names or provenance."""
        content = [asdict(self.cell), sorted(self.operations), [asdict(site) for site in self.sites]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """Text that ``from_json`` reads back to an equal structure."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The structure that ``to_json`` wrote."""
        raw: dict[str, Any] = json.loads(text)
        sites = []
        for site in raw.pop("sites"):
            aniso = site.pop("u_aniso")
            sites.append(Site(**site, u_aniso=tuple(aniso) if aniso else None))
        cell = Cell(**raw.pop("cell"))
        tuples = {key: tuple(raw.pop(key)) for key in ("operations", "notes")}
        return cls(**raw, **tuples, cell=cell, sites=tuple(sites))


@dataclass(frozen=True, slots=True)
class Reject:
    """A structure that was refused: where it was, a short stable code, and a sentence for people."""

    id: str
    source: str
    reason: str
    detail: str


def reduced_formula(composition: dict[str, float]) -> str:
    """Formula of a composition, divided by the largest divisor that leaves near-integers.

    Elements are ordered as Hill: C, then H, then alphabetical where there is carbon; otherwise alphabetical.
    Fractional amounts are written with up to two decimals.
    """
    amounts = {symbol: n for symbol, n in composition.items() if n > 1e-6}
    whole = {symbol: round(n) for symbol, n in amounts.items()}
    if all(abs(n - whole[symbol]) < 0.01 and whole[symbol] > 0 for symbol, n in amounts.items()):
        divisor = float(np.gcd.reduce(list(whole.values())))
        amounts = {symbol: n / divisor for symbol, n in whole.items()}
    else:
        # The cell content is not whole: scale so that the rarest element with at least half an atom counts once.
        smallest = min((n for n in amounts.values() if n >= 0.5), default=max(amounts.values()))
        amounts = {symbol: n / smallest for symbol, n in amounts.items()}
    first = ["C", "H"] if "C" in amounts else []
    order = sorted(amounts, key=lambda symbol: (first.index(symbol) if symbol in first else len(first), symbol))
    return "".join(symbol + _amount(amounts[symbol]) for symbol in order)


def _amount(number: float) -> str:
    text = f"{number:.2f}".rstrip("0").rstrip(".")
    return "" if text == "1" else text
