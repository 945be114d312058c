"""Ingest: the starter set, folders of CIFs and made-up crystals into the catalogue."""

from dataclasses import dataclass

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.catalog.history import close_revision
from hpc_mlsm.catalog.ingest import (
    PARSER_VERSION,
    STARTER,
    IngestTask,
    failed_result,
    parse_files,
    plan_ingest,
    store_result,
    store_starter,
)
from hpc_mlsm.catalog.mirror import described, source_files
from hpc_mlsm.catalog.parsed import ParsedContents
from hpc_mlsm.catalog.synthetic import SyntheticTask, failed_synthetic, make_synthetic, plan_synthetic, synthetic_tasks
from hpc_mlsm.config.run_config import SourceSettings
from hpc_mlsm.errors import CatalogueError
from hpc_mlsm.runtime.events import stage_events
from hpc_mlsm.stages.context import RunContext
from hpc_mlsm.structures.starter import starter_set

STAGE = "ingest"


@dataclass(frozen=True)
class IngestSummary:
    """What the catalogue holds, how many files were read for it this time, and how many crystals were made up."""

    structures: int
    rejects: int
    files_parsed: int
    files_removed: int
    revision: int
    made_up: int = 0


def run(context: RunContext) -> IngestSummary:
    """Bring the catalogue in line with its sources: new and changed files are read, vanished ones leave."""
    source = context.config.source
    path = context.run.catalogue
    with Catalogue(path) as catalogue, ParsedContents(path, PARSER_VERSION) as parsed:
        files = source_files(source.cif_folder) if source.cif_folder else []
        invented = [task for settings in source.made_up for task in synthetic_tasks(settings)]
        kept = (
            {file.name for file in files} | {task.path for task in invented} | ({STARTER} if source.starter else set())
        )
        removed = catalogue.remove_missing(kept)
        if source.starter:
            store_starter(catalogue, starter_set())
        digests = parsed.write_digests(path.with_name("known.sha256").resolve())
        read = _parse(context, catalogue, parsed, plan_ingest(files, catalogue.files(), digests))
        if digests:
            digests.unlink()
        known = catalogue.files()
        made = _make(context, catalogue, [task for one in source.made_up for task in plan_synthetic(one, known)])
        counts = catalogue.counts()
        revision = close_revision(catalogue, _source(source)).number
    if not counts.structures:
        raise CatalogueError(
            f"none of {counts.files} files gave a structure: {_by_reason(counts.by_reason)}; "
            f"each is in the rejects of {context.run.catalogue}"
        )
    return IngestSummary(counts.structures, counts.rejects, read, len(removed), revision, made)


def _parse(context: RunContext, catalogue: Catalogue, parsed: ParsedContents, tasks: list[IngestTask]) -> int:
    """Read the files of the tasks; returns how many were new or had changed."""
    if not tasks:
        return 0
    units, read = sum(task.units for task in tasks), 0
    with stage_events(
        context.on_event, STAGE, n_tasks=len(tasks), units="files", n_units=units, **context.size
    ) as listener:
        for outcome in context.executor.map_tasks(parse_files, tasks, stage=STAGE, on_event=listener):
            result = outcome.value or failed_result(outcome.task, str(outcome.error))
            taken = store_result(catalogue, result, parsed)
            for reject in (*(one for file in result.files for one in file.rejects), *taken):
                context.set_aside(STAGE, reject)
            read += sum(not (file.unchanged or file.known) for file in result.files)
    return read


def _source(source: SourceSettings) -> str:
    parts = ["starter set"] if source.starter else []
    parts += [described(source.cif_folder)] if source.cif_folder else []
    return ", ".join(parts + [f"{settings.count} synthetic crystals" for settings in source.made_up])


def _make(context: RunContext, catalogue: Catalogue, tasks: list[SyntheticTask]) -> int:
    """Make the crystals of the tasks; returns how many there are of them."""
    if not tasks:
        return 0
    units, made = sum(task.units for task in tasks), 0
    with stage_events(
        context.on_event, STAGE, n_tasks=len(tasks), units="crystals", n_units=units, **context.size
    ) as listener:
        for outcome in context.executor.map_tasks(make_synthetic, tasks, stage=STAGE, on_event=listener):
            result = outcome.value or failed_synthetic(outcome.task, str(outcome.error))
            for reject in (*(one for file in result.files for one in file.rejects), *store_result(catalogue, result)):
                context.set_aside(STAGE, reject)
            made += sum(len(file.structures) for file in result.files)
    return made


def _by_reason(rejects: dict[str, int]) -> str:
    return ", ".join(f"{count} × {reason}" for reason, count in rejects.items())
