"""Made-up structures as a source of the catalogue: planned as tasks, made by workers, stored like those of files."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields

from hpc_mlsm.catalog.ingest import PARSER_VERSION, IngestResult
from hpc_mlsm.catalog.rows import FileRecord, FileResult, StoredStructure, outcome_of, stored
from hpc_mlsm.errors import StructureError
from hpc_mlsm.structures.structure import Reject
from hpc_mlsm.structures.substituted import SubstitutedSettings
from hpc_mlsm.structures.synthetic import SyntheticSettings

MadeUp = SyntheticSettings | SubstitutedSettings
"""Random atoms in a space group, or structure types with other elements."""

PREFIX = "synthetic:"
"""The catalogue files made-up structures under paths that begin so."""

PER_TASK = 250
SECONDS_EACH = {SyntheticSettings: 0.022, SubstitutedSettings: 0.0005}
GENERATOR_VERSION = 1
"""Raise it when the same settings give other structures: they are then made again."""


@dataclass(frozen=True)
class SyntheticTask:
    """Structures ``first`` to ``first + count``, for one worker."""

    settings: MadeUp
    first: int
    count: int

    @property
    def path(self) -> str:
        """What the catalogue knows these structures by."""
        kind = "substituted/" if isinstance(self.settings, SubstitutedSettings) else ""
        return f"{PREFIX}{kind}{self.first:07d}-{self.first + self.count:07d}"

    @property
    def sha256(self) -> str:
        """Hash of everything that the structures depend on."""
        given = {item.name: getattr(self.settings, item.name) for item in fields(self.settings) if item.name != "count"}
        plain = {name: sorted(value) if isinstance(value, frozenset) else value for name, value in given.items()}
        key = repr((GENERATOR_VERSION, type(self.settings).__name__, plain, self.first, self.count))
        return hashlib.sha256(key.encode()).hexdigest()

    @property
    def id(self) -> str:
        """Name of the task."""
        return f"synthetic-{self.first:07d}-{self.count}-{self.sha256[:12]}"

    @property
    def cost(self) -> float:
        """Projected seconds on one core."""
        return SECONDS_EACH[type(self.settings)] * self.count

    @property
    def units(self) -> int:
        """How many structures."""
        return self.count

    def split(self) -> tuple["SyntheticTask", ...]:
        """Two halves; none where there is one structure."""
        half = self.count // 2
        if not half:
            return ()
        one = SyntheticTask(self.settings, self.first, half)
        return one, SyntheticTask(self.settings, self.first + half, self.count - half)


def plan_synthetic(settings: MadeUp, known: Mapping[str, FileRecord]) -> list[SyntheticTask]:
    """Tasks for the structures that the catalogue does not hold yet."""
    tasks = synthetic_tasks(settings)
    return [
        task
        for task in tasks
        if (record := known.get(task.path)) is None or (record.sha256, record.parser) != (task.sha256, PARSER_VERSION)
    ]


def synthetic_tasks(settings: MadeUp) -> list[SyntheticTask]:
    """All tasks of the settings; their paths are those that a catalogue keeps."""
    each = PER_TASK * (8 if isinstance(settings, SubstitutedSettings) else 1)
    return [
        SyntheticTask(settings, first, min(each, settings.count - first)) for first in range(0, settings.count, each)
    ]


def make_synthetic(task: SyntheticTask) -> IngestResult:
    """Make the structures of a task; for workers. One that cannot be made becomes a reject."""
    entries: list[StoredStructure] = []
    rejects: list[Reject] = []
    for number in range(task.first, task.first + task.count):
        try:
            entries.append(stored(task.settings.made(number)))
        except StructureError as error:
            rejects.append(Reject(task.settings.id_of(number), task.path, error.reason, error.detail))
    outcome = outcome_of(len(entries), len(rejects))
    record = FileRecord(task.path, task.sha256, 0, -1, PARSER_VERSION, outcome)
    return IngestResult((FileResult(record, tuple(entries), tuple(rejects)),))


def failed_synthetic(task: SyntheticTask, why: str) -> IngestResult:
    """The result of a task that could not be finished: its crystals are refused, and made again by the next ingest."""
    rejects = tuple(
        Reject(task.settings.id_of(number), task.path, "generator_error", f"making it up was given up: {why}")
        for number in range(task.first, task.first + task.count)
    )
    record = FileRecord(task.path, "", 0, -1, PARSER_VERSION, outcome_of(0, len(rejects)))
    return IngestResult((FileResult(record, (), rejects),))
