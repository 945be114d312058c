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
_LENGTHS_LIKE_A = {"cubic": "bc", "tetragonal": "b", "trigonal": "b", "hexagonal": "b"}
_UNIQUE_ANGLE = {"a": "alpha", "b": "beta", "c": "gamma"}


@dataclass(frozen=True, slots=True)
class StarterEntry:
    """One entry of the starter set: the structure, and the facts about it that no simulation needs.

    ``density`` is a measured or tabulated mass density (g/cm³) that ``density_source`` gives. It is never computed from
    cell, sites and symmetry, so that it can check them.
    """

    structure: Structure
    family: str
    density: float
    density_source: str


@cache
def starter_set() -> tuple[Structure, ...]:
    """The built-in structures, in the order of the packaged file.

    Their ids are such as ``"starter/NiO-rocksalt"``; they carry explicit symmetry operations and name the publication
    they come from.

    Raises
    ------
    StructureError
        With reason ``"bad_starter_entry"`` if the packaged file is damaged.
    """
    return tuple(entry.structure for entry in starter_entries())


@cache
def starter_entries() -> tuple[StarterEntry, ...]:
    """The starter set with family, literature density and the source of the density; raises as ``starter_set``."""
    return read_entries(files("hpc_mlsm.structures").joinpath("starter.yaml").read_text(encoding="utf-8"))


def read_entries(text: str) -> tuple[StarterEntry, ...]:
    """Entries of a text laid out as ``starter.yaml`` is; the head of that file explains the fields.

    Raises
    ------
    StructureError
        With reason ``"bad_starter_entry"`` if the text is not such a file or an entry contradicts itself; the message
        names the entry.
    """
    try:
        # The C loader reads the file in a tenth of the time, but PyYAML may have been built without it.
        entries = list(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["structures"])
    except (yaml.YAMLError, TypeError, KeyError) as error:
        raise StructureError(
            "bad_starter_entry",
            f"starter set: needs YAML with a list 'structures', found {type(error).__name__}: {error}; reinstall",
        ) from error
    return tuple(_entry(fields) for fields in entries)


def _entry(fields: Mapping[str, Any]) -> StarterEntry:
    name = fields.get("id") if isinstance(fields, Mapping) else fields
    try:
        return StarterEntry(
            structure=_structure(fields),
            family=str(fields["family"]),
            density=float(fields["density"]),
            density_source=str(fields["density_source"]),
        )
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise StructureError(
            "bad_starter_entry",
            f"starter set, entry {name!r}: {type(error).__name__}: {error}; correct the entry or reinstall",
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
    """The whole cell from what the symmetry leaves free; giving what it fixes is an error."""
    system = group.crystal_system_str()
    if group.ext == "R":
        raise ValueError(f"{group.xhm()}: enter rhombohedral structures in hexagonal axes")
    fixed = dict.fromkeys(_LENGTHS_LIKE_A.get(system, ""), given["a"])
    if system == "monoclinic":
        free = _UNIQUE_ANGLE[group.monoclinic_unique_axis()]
        fixed |= {angle: 90.0 for angle in _UNIQUE_ANGLE.values() if angle != free}
    elif system != "triclinic":
        fixed |= dict(zip(_UNIQUE_ANGLE.values(), _FIXED_ANGLES[system], strict=True))
    if repeated := sorted(fixed.keys() & given.keys()):
        raise ValueError(f"{group.xhm()} fixes {', '.join(repeated)}: leave out what symmetry fixes")
    return Cell(**{key: float(value) for key, value in {**fixed, **given}.items()})


def _site(line: str) -> Site:
    """A site from a line such as ``"Fe1 0 0 1/2 occupancy=0.945"``; the letters of the label are the element."""
    label, x, y, z, *optional = line.split()
    element = label.rstrip("0123456789")
    if gemmi.Element(element).name != element:
        raise ValueError(f"site {line!r}: {element!r} is no element")
    extra = {key: float(value) for key, value in (item.split("=") for item in optional)}
    if unknown := sorted(extra.keys() - {"occupancy", "u_iso"}):
        raise ValueError(f"site {line!r}: unknown {', '.join(unknown)}; known are occupancy and u_iso")
    return Site(
        label=label,
        element=element,
        x=float(Fraction(x)),
        y=float(Fraction(y)),
        z=float(Fraction(z)),
        occupancy=extra.get("occupancy", 1.0),
        u_iso=extra.get("u_iso"),
    )
