"""Ingest: files to tasks, tasks to results in workers, results to the catalogue in the driver."""

import hashlib
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hpc_mlsm.catalog.cif_folder import CifFile, scan_folder
from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.catalog.parsed import KnownDigests, ParsedContents
from hpc_mlsm.catalog.rows import FileRecord, FileResult, StoredStructure, content_fingerprint, outcome_of, stored
from hpc_mlsm.errors import StructureError
from hpc_mlsm.structures.cif import parse_cif
from hpc_mlsm.structures.cif_text import read_raw, unpacked
from hpc_mlsm.structures.structure import Reject, Structure

__all__ = [
    "PARSER_VERSION",
    "STARTER",
    "CifFile",
    "IngestResult",
    "IngestTask",
    "PlannedFile",
    "failed_result",
    "parse_files",
    "plan_ingest",
    "scan_folder",
    "store_result",
    "store_starter",
]

PARSER_VERSION = 3
"""Raise it when the rules of parsing change: files parsed by other rules are then parsed again."""

STARTER = "starter:"
"""The path under which the catalogue files the built-in structures."""

FILES_PER_TASK = 256
BYTES_PER_TASK = 4 * 2**20
"""A task is about a second long: a CIF takes 1–3 ms, and parsing reads some 10 MB/s."""

RECENT_S = 2.0
"""A file changed this recently may change again without a new modification time; its content is compared instead."""


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file to take in, and the hash of the content already known of it."""

    file: CifFile
    known_sha256: str | None = None


@dataclass(frozen=True)
class IngestTask:
    """Files that one worker parses in one go."""

    files: tuple[PlannedFile, ...]
    digests: Path | None = None
    """Where the hashes of contents lie that were parsed before, under whatever name."""

    @property
    def id(self) -> str:
        """Name of the task: the same for the same files."""
        names = "\n".join(planned.file.name for planned in self.files)
        return f"ingest-{hashlib.sha256(names.encode()).hexdigest()[:12]}"

    @property
    def cost(self) -> float:
        """Projected seconds on one core."""
        return sum(0.002 + max(planned.file.size, 0) / 10e6 for planned in self.files)

    @property
    def units(self) -> int:
        """How many files."""
        return len(self.files)

    def split(self) -> tuple["IngestTask", ...]:
        """Two halves, to find a file that kills its worker; none where there is one file."""
        middle = len(self.files) // 2
        return (replace(self, files=self.files[:middle]), replace(self, files=self.files[middle:])) if middle else ()


@dataclass(frozen=True)
class IngestResult:
    """What came of the files of a task."""

    files: tuple[FileResult, ...]


def plan_ingest(
    files: Sequence[CifFile], known: Mapping[str, FileRecord], digests: Path | None = None
) -> list[IngestTask]:
    """Tasks for the files that are new or may have changed.

    Parameters
    ----------
    files : sequence of CifFile
        What ``scan_folder`` found.
    known : mapping of str to FileRecord
        What ``Catalogue.files`` says of earlier runs. Files of the same size and modification time are left out.
    digests : Path, optional
        What ``ParsedContents.write_digests`` wrote: contents in it are not parsed.
    """
    tasks: list[IngestTask] = []
    batch: list[PlannedFile] = []
    size = 0
    for file in files:
        record = known.get(file.name)
        current = record is not None and record.parser == PARSER_VERSION
        if record and current and _looks_unchanged(file, record):
            continue
        batch.append(PlannedFile(file, record.sha256 if record and current else None))
        size += max(file.size, 0)
        if len(batch) >= FILES_PER_TASK or size >= BYTES_PER_TASK:
            tasks.append(IngestTask(tuple(batch), digests))
            batch, size = [], 0
    return [*tasks, IngestTask(tuple(batch), digests)] if batch else tasks


def parse_files(task: IngestTask) -> IngestResult:
    """Parse the files of a task; for workers. Raises nothing: every file has an outcome."""
    digests = KnownDigests(task.digests) if task.digests else ()
    return IngestResult(tuple(_parse_file(planned, digests) for planned in task.files))


def failed_result(task: IngestTask, why: str) -> IngestResult:
    """The result of a task that could not be finished, such as a single file that kills its worker."""
    return IngestResult(
        tuple(
            _result(
                planned.file,
                "",
                rejects=[Reject(planned.file.id, planned.file.name, "parser_error", f"parsing was given up: {why}")],
            )
            for planned in task.files
        )
    )


def store_result(catalogue: Catalogue, result: IngestResult, parsed: ParsedContents | None = None) -> list[Reject]:
    """Store a result in one transaction; returns the structures that are refused because their ids are taken.

    What was parsed is kept in ``parsed``, and files whose content was parsed before get from there what came of it.
    """
    if parsed is None:
        return catalogue.add(result.files)
    parsed.keep(result.files)
    recalled = [parsed.recalled(file) if file.known else file for file in result.files]
    # One that is no longer known is left out, and read by the next ingest.
    return catalogue.add(file for file in recalled if file is not None)


def store_starter(catalogue: Catalogue, structures: Iterable[Structure]) -> None:
    """Store the built-in structures, under the path ``STARTER``, where they are not those already there."""
    entries = tuple(stored(structure) for structure in structures)
    sha256 = content_fingerprint([(entry.summary.id, entry.sites + entry.operations) for entry in entries])
    known = catalogue.files().get(STARTER)
    if known is None or (known.sha256, known.parser) != (sha256, PARSER_VERSION):
        record = FileRecord(STARTER, sha256, 0, -1, PARSER_VERSION, outcome_of(len(entries), 0))
        catalogue.add([FileResult(record, entries)])


def _looks_unchanged(file: CifFile, record: FileRecord) -> bool:
    if file.duplicate_of is not None or record.outcome.startswith("duplicate"):
        return record.outcome == _duplicate_outcome(file)
    return file.mtime_ns >= 0 and (file.size, file.mtime_ns) == (record.size, record.mtime_ns)


def _duplicate_outcome(file: CifFile) -> str:
    return f"duplicate of {file.duplicate_of}"


def _parse_file(planned: PlannedFile, digests: Container[str]) -> FileResult:
    file = planned.file
    if file.duplicate_of is not None:
        detail = f"{file.duplicate_of} has the same id; rename or remove one of the two"
        return _result(file, "", rejects=[Reject(file.id, file.name, "duplicate_id", detail)])
    try:
        raw = read_raw(Path(file.path))
    except StructureError as error:
        return _result(file, "", rejects=[Reject(file.id, file.name, error.reason, error.detail)])
    sha256 = hashlib.sha256(raw).hexdigest()
    if sha256 == planned.known_sha256:
        return _result(file, sha256, unchanged=True)
    if sha256 in digests:
        return _result(file, sha256, known=True)
    try:
        structures, rejects = parse_cif(unpacked(raw), file.id, file.name)
        entries = [stored(structure) for structure in structures]
    except StructureError as error:
        return _result(file, sha256, rejects=[Reject(file.id, file.name, error.reason, error.detail)])
    except Exception as error:  # noqa: BLE001
        # The one place where a structure is quarantined: a bug that one file brings out must not end the run.
        detail = f"{type(error).__name__}: {error}"
        return _result(file, sha256, rejects=[Reject(file.id, file.name, "parser_error", detail)])
    return _result(file, sha256, entries, rejects)


def _result(
    file: CifFile,
    sha256: str,
    structures: Sequence[StoredStructure] = (),
    rejects: Sequence[Reject] = (),
    *,
    unchanged: bool = False,
    known: bool = False,
) -> FileResult:
    # Without a hash the file was not read: it must be tried again, whatever its size and time say then.
    recent = not sha256 or time.time() - file.mtime_ns / 1e9 < RECENT_S
    outcome = _duplicate_outcome(file) if file.duplicate_of else outcome_of(len(structures), len(rejects))
    mtime_ns = -1 if recent else file.mtime_ns
    record = FileRecord(file.name, sha256, file.size, mtime_ns, PARSER_VERSION, outcome)
    return FileResult(record, tuple(structures), tuple(rejects), unchanged, known, file.id)
