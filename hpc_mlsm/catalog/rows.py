"""What the catalogue holds and what travels to it from workers; all small and picklable."""

import hashlib
import json
from dataclasses import dataclass

from hpc_mlsm.structures.chemistry import Chemistry, chemistry_of
from hpc_mlsm.structures.labels import CRYSTAL_SYSTEMS, system_index
from hpc_mlsm.structures.structure import Reject, Structure


@dataclass(frozen=True, slots=True)
class Summary:
    """A structure without its atoms: what tables, filters and plans need.

    Lengths in Å, angles in degrees, volume in Å³, density in g/cm³. ``n_sites`` counts the asymmetric unit,
    ``n_atoms`` the atoms listed for a whole cell, partly occupied ones included. ``file`` is the file it came from.
    ``r_factor`` is that of the refinement (0.05 for 5 %) where stated; ``chemistry`` is organic, inorganic or
    metal_organic (see ``structures.chemistry``).
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

    @property
    def crystal_system(self) -> str:
        """Crystal system of the space group: triclinic … cubic."""
        return CRYSTAL_SYSTEMS[system_index(self.space_group)]


@dataclass(frozen=True, slots=True)
class StoredStructure:
    """A structure as it is stored: its summary and its JSON."""

    summary: Summary
    json: str


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
    """What came of one file. ``unchanged`` where its content is the known one, and was not parsed again."""

    record: FileRecord
    structures: tuple[StoredStructure, ...] = ()
    rejects: tuple[Reject, ...] = ()
    unchanged: bool = False


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
    summary = Summary(
        structure.id,
        structure.name,
        structure.formula,
        elements,
        len(elements),
        structure.space_group,
        structure.space_group_symbol,
        *structure.cell.parameters,
        volume=structure.cell.volume,
        density=structure.density,
        n_sites=len(structure.sites),
        n_atoms=len(structure.unit_cell),
        cod_id=structure.cod_id,
        source=structure.source,
        content_hash=structure.content_hash,
        notes=structure.notes,
        r_factor=structure.r_factor,
        chemistry=chemistry_of(structure),
    )
    return StoredStructure(summary, structure.to_json())


def outcome_of(structures: int, rejects: int) -> str:
    """``"2 structures, 1 reject"`` and the like, for ``FileRecord.outcome``."""
    parts = [f"{n} {word}{'' if n == 1 else 's'}" for n, word in ((structures, "structure"), (rejects, "reject")) if n]
    return ", ".join(parts) or "nothing"


def content_fingerprint(keys: list[tuple[str, str]]) -> str:
    """Hash over (id, content hash) pairs, whatever their order."""
    return hashlib.sha256(json.dumps(sorted(keys)).encode()).hexdigest()[:16]
