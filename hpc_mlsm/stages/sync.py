"""Sync: a mirror of a database of CIFs is brought up to date, range by range."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hpc_mlsm.catalog.mirror import FILES, Mirror, RangeChange
from hpc_mlsm.catalog.rsync import BrokenConnection, Politeness, RemoteFile, fetch, list_files, list_folders
from hpc_mlsm.errors import CatalogueError, ConfigError
from hpc_mlsm.runtime.events import Listener, Note, TaskFinished, stage_events
from hpc_mlsm.runtime.lock import RunLock
from hpc_mlsm.runtime.signals import stoppable

STAGE = "sync"
COD = "rsync://www.crystallography.net/cif"
"""The Crystallography Open Database."""

LOST_SHARE = 0.2
"""A source that lost more than this share of a range, and more than a hundred files, is rather broken than tidied."""

_RANGE = re.compile(r"\d(/\d\d){0,2}")


@dataclass(frozen=True)
class SyncSummary:
    """What a sync found: ranges done now and before, and files added, changed, withdrawn, and in all its ranges."""

    number: int
    ranges: int
    ranges_before: int
    added: int
    changed: int
    withdrawn: int
    files: int
    list_hash: str


@dataclass(frozen=True)
class SyncRequest:
    """What to mirror where: ``ranges`` such as ``1/00``, all of them where empty.

    ``accept_losses`` takes it for true when a source has lost a large part of a range.
    """

    source: str
    mirror: Path
    ranges: tuple[str, ...] = ()
    manners: Politeness = field(default_factory=Politeness)
    accept_losses: bool = False

    def __post_init__(self) -> None:
        for name in self.ranges:
            if not _RANGE.fullmatch(name):
                raise ConfigError(f"range {name!r}: write the beginning of a path at the source, such as 1/00 or 2")
            if any(name.startswith(f"{other}/") for other in self.ranges):
                raise ConfigError(f"range {name!r} lies in another one that is given too; leave one of them out")


def run(request: SyncRequest, on_event: Listener) -> SyncSummary:
    """Bring the mirror up to date; ranges that an interrupted sync has already are not asked for again."""
    request.mirror.mkdir(parents=True, exist_ok=True)
    with stoppable(), RunLock(request.mirror, on_event=on_event), Mirror(request.mirror) as mirror:
        ranges = all_ranges(request)
        sync, done = mirror.begin(request.source, ranges)
        missing = [name for name in ranges if name not in done]
        with stage_events(on_event, STAGE, n_tasks=len(missing), units="ranges", n_units=len(missing)) as listener:
            for place, name in enumerate(missing):
                if place:
                    time.sleep(request.manners.pause_s)
                start = time.monotonic()
                _sync_range(request, mirror, sync.number, name, on_event)
                seconds = time.monotonic() - start
                listener(TaskFinished(stage=STAGE, task_id=name, n_units=1, seconds=seconds, worker="this process"))
        finished = mirror.finish(sync.number)
        return SyncSummary(
            sync.number, len(missing), len(done), *mirror.totals(sync.number), list_hash=finished.list_hash or ""
        )


def preview(request: SyncRequest) -> list[RangeChange]:
    """What a sync would change, from the source's lists alone; nothing is written."""
    if not (request.mirror / FILES).exists():
        return [_all_new(request, name) for name in all_ranges(request)]
    with Mirror(request.mirror) as mirror:
        return [mirror.compare(name, _listed(request, name)) for name in all_ranges(request)]


def _all_new(request: SyncRequest, name: str) -> RangeChange:
    upstream = _listed(request, name)
    names = tuple(f"{name}/{file.name}" for file in upstream)
    return RangeChange(name, names, (), (), len(names), sum(file.size for file in upstream), "")


def all_ranges(request: SyncRequest) -> tuple[str, ...]:
    """The ranges that are asked for, each as one or several parts of ten thousand entries at most."""
    found = []
    for name in request.ranges or ("",):
        if name.count("/") >= 1:
            found.append(name)
            continue
        for digit in [name] if name else _folders(request, ""):
            found += [f"{digit}/{folder}" for folder in _folders(request, digit)]
    if not found:
        raise CatalogueError(f"{request.source} holds no ranges; give the address of COD's tree of CIFs, such as {COD}")
    return tuple(sorted(found))


def _folders(request: SyncRequest, name: str) -> list[str]:
    listed = list_folders(f"{request.source.rstrip('/')}/{name}", request.manners)
    return [folder for folder in listed if folder.isdigit()]


def _listed(request: SyncRequest, name: str) -> list[RemoteFile]:
    return list_files(f"{request.source.rstrip('/')}/{name}", request.manners)


def _sync_range(request: SyncRequest, mirror: Mirror, sync: int, name: str, on_event: Listener) -> None:
    """Bring one range up to date, in several tries where the connection breaks or files change meanwhile."""
    mirror.clear_withdrawn(name)
    for left in (request.mirror / FILES / name).rglob(".*.cif.??????"):
        left.unlink()  # of an rsync that was killed
    for attempt in range(1, request.manners.tries + 1):
        try:
            upstream = _listed(request, name)
            change = mirror.compare(name, upstream)
            _refuse_losses(request, change)
            if change.added or change.changed or mirror.lacking(name, upstream):
                _fetch(request, name, on_event)
            lacking = mirror.lacking(name, upstream)
            if lacking:
                raise BrokenConnection(f"{len(lacking)} files of range {name} did not arrive, {lacking[0]} among them")
        except BrokenConnection as error:
            if attempt == request.manners.tries:
                raise
            on_event(Note(stage=STAGE, text=f"range {name}, try {attempt}: {error}"))
            time.sleep(request.manners.pause_s * 2**attempt)
            continue
        mirror.record(sync, change, upstream)
        for path in change.withdrawn:
            on_event(Note(stage=STAGE, text=f"{path} was withdrawn at the source; it is kept in withdrawn/"))
        return


def _fetch(request: SyncRequest, name: str, on_event: Listener) -> None:
    target = request.mirror / FILES / name
    target.mkdir(parents=True, exist_ok=True)
    count = 0

    def counted(_: str) -> None:
        nonlocal count
        count += 1
        if count % 1000 == 0:
            on_event(Note(stage=STAGE, text=f"range {name}: {count} files so far"))

    fetch(f"{request.source.rstrip('/')}/{name}", target, request.manners, counted)


def _refuse_losses(request: SyncRequest, change: RangeChange) -> None:
    before = change.files - len(change.added) + len(change.withdrawn)
    lost = len(change.withdrawn)
    if lost > max(100, LOST_SHARE * before) and not request.accept_losses:
        raise CatalogueError(
            f"the source has lost {lost} of {before} files of range {change.range}, which looks like a broken source; "
            "nothing was withdrawn here. Look at it, and give --accept-losses if it is right"
        )


def shown_ranges(changes: Sequence[RangeChange]) -> tuple[int, int, int]:
    """Files added, changed and withdrawn over all ranges."""
    return (
        sum(len(one.added) for one in changes),
        sum(len(one.changed) for one in changes),
        sum(len(one.withdrawn) for one in changes),
    )
