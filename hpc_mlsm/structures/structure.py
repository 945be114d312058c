"""The crystal structure as the rest of the package sees it."""

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
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
        return _metric(self).copy()

    @property
    def volume(self) -> float:
        """Cell volume, Å³."""
        return float(np.sqrt(max(np.linalg.det(self.metric), 0.0)))

    @property
    def parameters(self) -> tuple[float, float, float, float, float, float]:
        """(a, b, c, alpha, beta, gamma)."""
        return (self.a, self.b, self.c, self.alpha, self.beta, self.gamma)


@lru_cache(maxsize=256)
def _metric(cell: Cell) -> NDArray[np.float64]:
    lengths = np.array([cell.a, cell.b, cell.c])
    cosines = np.cos(np.radians([cell.alpha, cell.beta, cell.gamma]))
    shape = np.array(
        [
            [1.0, cosines[2], cosines[1]],
            [cosines[2], 1.0, cosines[0]],
            [cosines[1], cosines[0], 1.0],
        ]
    )
    return np.outer(lengths, lengths) * shape


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


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a source says of a structure besides its atoms.

    ``temperature`` (K) and ``pressure`` (kPa) of the measurement, ``z`` formula units in a cell, ``year`` of the
    publication, ``revision`` of the entry in its database; None where not stated. ``flags`` are of those in FLAGS.
    """

    year: int | None = None
    temperature: float | None = None
    pressure: float | None = None
    z: int | None = None
    revision: int | None = None
    flags: tuple[str, ...] = ()


FLAGS: dict[str, str] = {
    "disordered": "atoms that share places, or are listed in groups of disorder",
    "partial_occupancy": "sites that are not fully occupied",
    "no_hydrogens": "hydrogen is in the formula, but in no site",
    "duplicate": "the database names another entry of the same structure",
    "retracted": "the publication was retracted",
    "theoretical": "calculated, not measured",
}
"""Flags of a structure, and what they mean."""


@dataclass(frozen=True)
class UnitCell:
    """All atoms of one cell, as arrays over N atoms.

    ``site`` says which asymmetric site an atom comes from; atoms of one site are symmetry equivalent and lie together,
    in the order of the sites. ``operation`` says which of the structure's operations takes the first atom of a site
    to this one, up to lattice translations. ``u_iso`` (Å²) is NaN where the structure gives none.
    """

    fractional: NDArray[np.float64]
    numbers: NDArray[np.int64]
    occupancy: NDArray[np.float64]
    u_iso: NDArray[np.float64]
    site: NDArray[np.int64]
    operation: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True)
class Structure:
    """One crystal: cell, symmetry operations, asymmetric unit, and where it comes from.

    ``operations`` are coordinate triplets ("-x,y+1/2,z") of the whole group, centring included, identity first;
    they rule. ``space_group`` (number) and ``space_group_symbol`` (Hermann-Mauguin, with setting) name them.
    ``r_factor`` is the conventional R of the refinement (0.05 for 5 %), None where the source states none.
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
    r_factor: float | None = None
    provenance: Provenance = Provenance()

    @cached_property
    def unit_cell(self) -> UnitCell:
        """All atoms of one cell."""
        from hpc_mlsm.structures.symmetry import expand  # symmetry needs the types above

        return expand(self)

    @cached_property
    def composition(self) -> dict[str, float]:
        """Atoms of each element in one cell, occupancy weighted, by atomic number."""
        atoms = self.unit_cell
        counts = np.bincount(atoms.numbers, weights=atoms.occupancy)
        return {gemmi.Element(int(number)).name: float(counts[number]) for number in np.unique(atoms.numbers)}

    @cached_property
    def formula(self) -> str:
        """Reduced formula, such as ``"CoFe2O4"``."""
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
        cell = json.dumps({key: float(value) for key, value in _fields(self.cell).items()}, sort_keys=True)
        sites = json.dumps([_fields(site) for site in self.sites], sort_keys=True)
        return hashlib.sha256(f"[{cell}, {_sorted_json(self.operations)}, {sites}]".encode()).hexdigest()[:16]

    def annotated(self, name: str, notes: tuple[str, ...]) -> Self:
        """The same structure under another name and with other notes; what was derived of its atoms is kept."""
        other = replace(self, name=name, notes=notes)
        derived = ("unit_cell", "composition", "formula", "content_hash")
        other.__dict__.update({key: self.__dict__[key] for key in derived if key in self.__dict__})
        return other

    def to_json(self) -> str:
        """Text that ``from_json`` reads back to an equal structure."""
        parts = {"cell": _fields(self.cell), "provenance": _fields(self.provenance)}
        content = _fields(self) | parts | {"sites": [_fields(site) for site in self.sites]}
        return json.dumps(content, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The structure that ``to_json`` wrote."""
        raw: dict[str, Any] = json.loads(text)
        sites = []
        for site in raw.pop("sites"):
            aniso = site.pop("u_aniso")
            sites.append(Site(**site, u_aniso=tuple(aniso) if aniso else None))
        cell = Cell(**raw.pop("cell"))
        known = raw.pop("provenance", {})
        provenance = Provenance(**known | {"flags": tuple(known.get("flags", ()))})
        tuples: dict[str, Any] = {key: tuple(raw.pop(key)) for key in ("operations", "notes")}
        return cls(**raw, **tuples, cell=cell, sites=tuple(sites), provenance=provenance)


@dataclass(frozen=True, slots=True)
class Reject:
    """A structure that was refused: where it was, a short stable code, and a sentence for people."""

    id: str
    source: str
    reason: str
    detail: str


@lru_cache(maxsize=1024)
def _sorted_json(operations: tuple[str, ...]) -> str:
    return json.dumps(sorted(operations))


def _fields(value: Structure | Cell | Site | Provenance) -> dict[str, Any]:
    """Fields by name, as ``dataclasses.asdict`` without its deep copies, which cost more than parsing a CIF."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def reduced_formula(composition: dict[str, float]) -> str:
    """Formula of a composition, divided by the largest divisor that leaves near-integers, such as ``"CoFe2O4"``.

    Elements that are not whole, but add up to a whole number, share sites and are counted together, so that
    a quarter of a cell of ``Mg6.4Al17.6O32`` is ``Mg0.8Al2.2O4``. Compounds of carbon and hydrogen are in Hill order.
    In all others alkali metals, alkaline earths and rare earths come first, then other metals (the rarer one first),
    then non-metals by electronegativity, as inorganic formulae are mostly written. Fractional amounts have up to two
    decimals.
    """
    amounts = {symbol: n for symbol, n in composition.items() if n > 1e-6}
    mixed = [n for n in amounts.values() if not _whole(n)]
    whole = [round(n) for n in [*amounts.values(), sum(mixed)] if _whole(n)]
    if whole:
        divisor = float(np.gcd.reduce(whole))
    else:
        # Nothing is whole: the rarest element with at least half an atom counts once.
        divisor = min((n for n in amounts.values() if n >= 0.5), default=max(amounts.values()))
    amounts = {symbol: n / divisor for symbol, n in amounts.items()}
    return "".join(symbol + _amount(amounts[symbol]) for symbol in _written_order(amounts))


def _whole(number: float) -> bool:
    return abs(number - round(number)) < 0.01 and round(number) > 0


def _written_order(amounts: dict[str, float]) -> list[str]:
    if {"C", "H"} <= amounts.keys():
        return sorted(amounts, key=lambda symbol: (symbol != "C", symbol != "H", symbol))
    first = {symbol: rank for rank, symbols in enumerate(_ELECTROPOSITIVE) for symbol in symbols.split()}
    last = {symbol: rank for rank, symbol in enumerate(_NON_METALS.split(), start=len(_ELECTROPOSITIVE) + 1)}
    other = len(_ELECTROPOSITIVE)
    ranks = {symbol: first.get(symbol, last.get(symbol, other)) for symbol in amounts}
    return sorted(amounts, key=lambda symbol: (ranks[symbol], amounts[symbol], symbol))


_ELECTROPOSITIVE = (
    "Li Na K Rb Cs Fr",
    "Be Mg Ca Sr Ba Ra",
    "Sc Y La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu",
)
_NON_METALS = "Si B Ge P As Te H Se C S I Br N Cl O F He Ne Ar Kr Xe Rn"


def _amount(number: float) -> str:
    text = f"{number:.2f}".rstrip("0").rstrip(".")
    return "" if text == "1" else text
