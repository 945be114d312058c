"""What the catalogue holds and what travels to it from workers; all small and picklable."""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

from hpc_mlsm.structures.chemistry import Chemistry, chemistry_of
from hpc_mlsm.structures.labels import CRYSTAL_SYSTEMS, system_index
from hpc_mlsm.structures.structure import Cell, Provenance, Reject, Site, Structure


@dataclass(frozen=True, slots=True)
class Summary:
    """A structure without its atoms: what tables, filters and plans need.

    Lengths in Å, angles in degrees, volume in Å³, density in g/cm³. ``n_sites`` counts the asymmetric unit,
    ``n_atoms`` the atoms listed for a whole cell, partly occupied ones included. ``file`` is the file it came from.
    ``r_factor`` is that of the refinement (0.05 for 5 %) where stated; ``chemistry`` is organic, inorganic or
    metal_organic (see ``structures.chemistry``). Year to flags are those of ``Provenance``.
    """

    id: str
    name: str
    formula: str
    elements: tuple[str, ...]
    n_elements: int
    space_group: int
    space_group_symbol: str
    a: float
    b: float
    c: float
    alpha: float
    beta: float
    gamma: float
    volume: float
    density: float
    n_sites: int
    n_atoms: int
    cod_id: int | None
    source: str
    content_hash: str
    notes: tuple[str, ...]
    file: str = ""
    r_factor: float | None = None
    chemistry: Chemistry = "inorganic"
    year: int | None = None
    temperature: float | None = None
    pressure: float | None = None
    z: int | None = None
    revision: int | None = None
    flags: tuple[str, ...] = ()

    @property
    def crystal_system(self) -> str:
        """Crystal system of the space group: triclinic … cubic."""
        return CRYSTAL_SYSTEMS[system_index(self.space_group)]

    @property
    def cell(self) -> Cell:
        """The unit cell."""
        return Cell(self.a, self.b, self.c, self.alpha, self.beta, self.gamma)


@dataclass(frozen=True, slots=True)
class CellContent:
    """What the cost of a structure follows from: volume (Å³), sites, atoms of the whole cell, symmetry operations."""

    id: str
    volume: float
    n_sites: int
    n_atoms: int
    operations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoredStructure:
    """A structure as it is stored: its summary, and as JSON its sites and its symmetry operations."""

    summary: Summary
    sites: str
    operations: str


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file that was taken in, by content.

    ``sha256`` is of the file as it lies on disk; ``mtime_ns`` is -1 where it is too recent to be trusted.
    ``parser`` is the version of the rules it was parsed by, ``outcome`` says in words what came of it.
    """

    path: str
    sha256: str
    size: int
    mtime_ns: int
    parser: int
    outcome: str


@dataclass(frozen=True, slots=True)
class FileResult:
    """What came of one file.

    ``unchanged`` where its content is what is known of that path, ``known`` where it is that of another file, or of
    an earlier time; neither was parsed again. ``identity`` is what the ids of its structures begin with.
    """

    record: FileRecord
    structures: tuple[StoredStructure, ...] = ()
    rejects: tuple[Reject, ...] = ()
    unchanged: bool = False
    known: bool = False
    identity: str = ""


@dataclass(frozen=True)
class Counts:
    """How much a catalogue holds; ``by_reason`` counts rejects by their code."""

    structures: int
    rejects: int
    files: int
    by_reason: dict[str, int]


def stored(structure: Structure) -> StoredStructure:
    """A structure as the catalogue keeps it."""
    elements = tuple(sorted(structure.elements))
    volume = structure.cell.volume
    summary = Summary(
        structure.id,
        structure.name,
        structure.formula,
        elements,
        len(elements),
        structure.space_group,
        structure.space_group_symbol,
        *structure.cell.parameters,
        volume=volume,
        density=structure.density,
        n_sites=len(structure.sites),
        n_atoms=len(structure.unit_cell),
        cod_id=structure.cod_id,
        source=structure.source,
        content_hash=structure.content_hash,
        notes=structure.notes,
        r_factor=structure.r_factor,
        chemistry=chemistry_of(structure),
        **{name: getattr(structure.provenance, name) for name in Provenance.__dataclass_fields__},
    )
    sites = json.dumps([_site_values(site) for site in structure.sites], separators=(",", ":"))
    return StoredStructure(summary, sites, json.dumps(structure.operations, separators=(",", ":")))


def _site_values(site: Site) -> list[object]:
    """A site without what it does not state at its end."""
    values = [site.label, site.element, site.x, site.y, site.z, site.occupancy, site.u_iso, site.u_aniso]
    while values[-1] is None:
        values.pop()
    return values


def restored(summary: Summary, sites: str, operations: tuple[str, ...]) -> Structure:
    """The structure that ``stored`` was given.

    Raises
    ------
    ValueError, TypeError
        If the sites are not what ``stored`` wrote.
    """
    return Structure(
        id=summary.id,
        name=summary.name,
        cell=summary.cell,
        space_group=summary.space_group,
        space_group_symbol=summary.space_group_symbol,
        operations=operations,
        sites=tuple(_site(values) for values in json.loads(sites)),
        cod_id=summary.cod_id,
        source=summary.source,
        notes=summary.notes,
        r_factor=summary.r_factor,
        provenance=Provenance(**{name: getattr(summary, name) for name in Provenance.__dataclass_fields__}),
    )


def _site(values: list[object]) -> Site:
    if len(values) > 7 and values[7] is not None:
        values[7] = tuple(values[7])  # type: ignore[arg-type]
    return Site(*values)  # type: ignore[arg-type]


def values_of(summary: Summary) -> list[Any]:
    """The fields of a summary, in their order."""
    return [getattr(summary, name) for name in Summary.__dataclass_fields__]


def placed(result: FileResult, identity: str, path: str) -> FileResult:
    """What came of a file, as if it had another path, and the ids of its structures another beginning."""
    old_identity, old_path = result.identity, result.record.path

    def moved(given: str, source: str) -> dict[str, Any]:
        own = path if source == old_path else source
        return {"id": identity + given.removeprefix(old_identity), "source": own}

    structures = tuple(
        replace(one, summary=replace(one.summary, **moved(one.summary.id, one.summary.source)))
        for one in result.structures
    )
    rejects = tuple(replace(one, **moved(one.id, one.source)) for one in result.rejects)
    return replace(
        result, record=replace(result.record, path=path), structures=structures, rejects=rejects, identity=identity
    )


def encoded(result: FileResult) -> str:
    """Structures and rejects of a file as JSON, from which ``decoded`` makes them again."""
    structures = [[*values_of(one.summary), one.sites, one.operations] for one in result.structures]
    rejects = [[one.id, one.source, one.reason, one.detail] for one in result.rejects]
    return json.dumps([structures, rejects], separators=(",", ":"))


def decoded(text: str) -> tuple[tuple[StoredStructure, ...], tuple[Reject, ...]]:
    """What ``encoded`` was given."""
    structures, rejects = json.loads(text)
    found = []
    for *values, sites, operations in structures:
        summary = Summary(*values)
        lists: dict[str, Any] = {name: tuple(getattr(summary, name)) for name in ("elements", "notes", "flags")}
        found.append(StoredStructure(replace(summary, **lists), sites, operations))
    return tuple(found), tuple(Reject(*values) for values in rejects)


def outcome_of(structures: int, rejects: int) -> str:
    """``"2 structures, 1 reject"`` and the like, for ``FileRecord.outcome``."""
    parts = [f"{n} {word}{'' if n == 1 else 's'}" for n, word in ((structures, "structure"), (rejects, "reject")) if n]
    return ", ".join(parts) or "nothing"


def content_fingerprint(keys: list[tuple[str, str]]) -> str:
    """Hash over (id, content hash) pairs, whatever their order."""
    return hashlib.sha256(json.dumps(sorted(keys)).encode()).hexdigest()[:16]
