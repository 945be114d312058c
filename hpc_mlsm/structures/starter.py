"""The built-in starter set: real structures entered as facts, so that nothing has to be downloaded to begin."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import Any

import gemmi
import yaml

from hpc_mlsm.errors import StructureError
from hpc_mlsm.structures.structure import Cell, Site, Structure
from hpc_mlsm.structures.symmetry import operations_of

ID_PREFIX = "starter/"

_FIXED_ANGLES = {
    "cubic": (90.0, 90.0, 90.0),
    "tetragonal": (90.0, 90.0, 90.0),
    "orthorhombic": (90.0, 90.0, 90.0),
    "trigonal": (90.0, 90.0, 120.0),
    "hexagonal": (90.0, 90.0, 120.0),
}
"""Angles that the crystal system fixes; trigonal structures are entered in hexagonal axes."""

_LENGTHS_LIKE_A = {"cubic": "bc", "tetragonal": "b", "trigonal": "b", "hexagonal": "b"}


@dataclass(frozen=True, slots=True)
class StarterEntry:
    """One entry of the starter set: the structure, and the facts about it that no simulation needs.

    ``density`` is a measured or tabulated mass density (g/cm³) from ``density_source``; it is an independent check of
    cell, sites and symmetry, and is never computed from them.
    """

    structure: Structure
    family: str
    density: float
    density_source: str


@cache
def starter_set() -> tuple[Structure, ...]:
    """The built-in structures, in the order of the file.

    They carry ids such as ``"starter/NiO-rocksalt"``, explicit symmetry operations and the publication they come from.

    Raises
    ------
    StructureError
        If the packaged file is damaged; the message names the entry.
    """
    return tuple(entry.structure for entry in starter_entries())


@cache
def starter_entries() -> tuple[StarterEntry, ...]:
    """The starter set with family, literature density and the source of the density."""
    text = files("hpc_mlsm.structures").joinpath("starter.yaml").read_text(encoding="utf-8")
    return read_entries(text)


def read_entries(text: str) -> tuple[StarterEntry, ...]:
    """Entries of a text laid out as ``starter.yaml`` is; the head of that file explains the fields.

    Raises
    ------
    StructureError
        With reason ``"bad_starter_entry"`` if the text is not such a file or an entry contradicts itself.
    """
    try:
        raw = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        structures = raw["structures"]
    except (yaml.YAMLError, TypeError, KeyError) as error:
        raise StructureError(
            "bad_starter_entry", f"starter set: expected YAML with a list 'structures', found: {error}"
        ) from error
    return tuple(_entry(fields) for fields in structures)


def _entry(fields: Mapping[str, Any]) -> StarterEntry:
    name = fields.get("id", "?") if isinstance(fields, Mapping) else "?"
    try:
        return StarterEntry(
            structure=_structure(fields),
            family=str(fields["family"]),
            density=float(fields["density"]),
            density_source=str(fields["density_source"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StructureError(
            "bad_starter_entry",
            f"starter set, entry {name!r}: {type(error).__name__}: {error}; correct starter.yaml or reinstall",
        ) from error


def _structure(fields: Mapping[str, Any]) -> Structure:
    group = gemmi.SpaceGroup(fields["group"])
    return Structure(
        id=ID_PREFIX + fields["id"],
        name=fields["name"],
        cell=_cell(fields["cell"], group),
        space_group=group.number,
        space_group_symbol=group.xhm(),
        operations=operations_of(group),
        sites=tuple(_site(line) for line in fields["sites"]),
        cod_id=fields.get("cod"),
        source=fields["source"],
        notes=(fields["notes"],) if "notes" in fields else (),
    )


def _cell(given: Mapping[str, float], group: gemmi.SpaceGroup) -> Cell:
    """The whole cell from what the crystal system leaves free; giving more or less than that is an error."""
    system = group.crystal_system_str()
    tied = _LENGTHS_LIKE_A.get(system, "")
    cell = {"a": given["a"]} | {axis: given["a"] for axis in tied}
    if system in _FIXED_ANGLES:
        cell |= dict(zip(("alpha", "beta", "gamma"), _FIXED_ANGLES[system], strict=True))
    elif system == "monoclinic":
        cell |= {angle: 90.0 for angle in ("alpha", "beta", "gamma") if angle != _unique_angle(group)}
    if repeated := (cell.keys() & given.keys()) - {"a"}:
        raise ValueError(f"{group.xhm()} fixes {', '.join(sorted(repeated))}; leave it out")
    return Cell(**{key: float(value) for key, value in (cell | dict(given)).items()})


def _unique_angle(group: gemmi.SpaceGroup) -> str:
    return {"a": "alpha", "b": "beta", "c": "gamma"}[group.monoclinic_unique_axis()]


def _site(line: str) -> Site:
    """A site from a line such as ``"Fe1 0 0 1/2 occupancy=0.945"``; the letters of the label are the element."""
    label, x, y, z, *optional = line.split()
    element = label.rstrip("0123456789")
    if gemmi.Element(element).name != element:
        raise ValueError(f"site {line!r}: {element!r} is no element")
    extra = {key: float(value) for key, value in (item.split("=") for item in optional)}
    if unknown := extra.keys() - {"occupancy", "u_iso"}:
        raise ValueError(f"site {line!r}: unknown {', '.join(sorted(unknown))}")
    coordinates = (float(Fraction(text)) for text in (x, y, z))
    return Site(label, element, *coordinates, **extra)
