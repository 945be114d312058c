"""What a source says of a structure besides its atoms: when and how it was measured, and what is wrong with it."""

import re
from dataclasses import dataclass

from hpc_mlsm.structures.cif_text import CifBlock
from hpc_mlsm.structures.elements import formula_amounts
from hpc_mlsm.structures.structure import Provenance, Site

_REVISION = re.compile(rb"^#\$Revision:\s*(\d+)\s*\$", re.MULTILINE)
_HEAD = 2000
_MEASURED = ("_diffrn_ambient", "_cell_measurement")
_ORDERED = frozenset({"", ".", "?", "0"})


@dataclass(frozen=True, slots=True)
class _Plausible:
    """Values outside are typing errors, or another unit."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


_YEARS, _TEMPERATURES, _PRESSURES = _Plausible(1900, 2100), _Plausible(0.0, 6000.0), _Plausible(0.0, 1e9)


def read_revision(content: bytes | str) -> int | None:
    """The revision that COD writes into the head of its files."""
    head = content[:_HEAD]
    found = _REVISION.search(head.encode("utf-8", "replace") if isinstance(head, str) else head)
    return int(found.group(1)) if found else None


def read_provenance(block: CifBlock, sites: list[Site], revision: int | None) -> Provenance:
    """What a block says; values that cannot be true are left out.

    Temperature is in K and pressure in kPa, as the core dictionary of CIF has it.
    """
    year = block.number("_journal_year", "_citation_year")
    temperature = block.number(*(f"{stem}_temperature" for stem in _MEASURED))
    pressure = block.number(*(f"{stem}_pressure" for stem in _MEASURED))
    z = block.number("_cell_formula_units_Z")
    return Provenance(
        year=int(year) if year is not None and year in _YEARS else None,
        temperature=temperature if temperature is not None and temperature in _TEMPERATURES else None,
        pressure=pressure if pressure is not None and pressure in _PRESSURES else None,
        z=int(z) if z is not None and 1 <= z <= 10_000 and z == int(z) else None,
        revision=revision,
        flags=tuple(_flags(block, sites)),
    )


def _flags(block: CifBlock, sites: list[Site]) -> list[str]:
    found = []
    groups = [*block.column("_atom_site_disorder_group"), *block.column("_atom_site_disorder_assembly")]
    places = {(round(site.x, 3), round(site.y, 3), round(site.z, 3)) for site in sites}
    if len(places) < len(sites) or not _ORDERED.issuperset(groups):
        found.append("disordered")
    if any(site.occupancy < 1.0 for site in sites):
        found.append("partial_occupancy")
    formula = dict(formula_amounts(block.text("_chemical_formula_sum") or ""))
    if "H" in formula and all(site.element != "H" for site in sites):
        found.append("no_hydrogens")
    if block.text("_cod_duplicate_entry"):
        found.append("duplicate")
    if (block.text("_cod_error_flag") or "").lower() == "retracted":
        found.append("retracted")
    if (block.text("_cod_struct_determination_method") or "").lower() == "theoretical":
        found.append("theoretical")
    return found
