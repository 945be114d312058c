"""Group: structures whose base patterns correlate become one class, which keeps its id when others come and go."""

import shutil
import time
from dataclasses import dataclass

from hpc_mlsm.config.fingerprint import fingerprint
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.errors import RunError, StoreError
from hpc_mlsm.grouping.groups import SavedGroups, build_groups, load_groups, save_groups
from hpc_mlsm.grouping.identity import carry_ids
from hpc_mlsm.grouping.linkage import labels_for
from hpc_mlsm.grouping.panels import LiveRows
from hpc_mlsm.grouping.settings import GroupSettings
from hpc_mlsm.runtime.events import stage_events
from hpc_mlsm.runtime.resources import usable_cores
from hpc_mlsm.stages.context import RunContext, finished
from hpc_mlsm.stages.correlate import WORK, Found, find_edges
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.store.patterns import PatternStore

STAGE = "group"


@dataclass(frozen=True)
class GroupSummary:
    """What the stage found; ``reused`` where the groups on disk were already those of these patterns.

    ``pairs`` were compared this time, and of these ``proven`` excluded without the product of whole patterns;
    ``fresh`` structures were compared with all, the others with these alone.
    """

    structures: int
    groups: int
    largest: int
    edges: int
    reused: bool
    fresh: int = 0
    pairs: int = 0
    proven: int = 0
    events: int = 0


def expected_fingerprint(store: PatternStore, settings: GroupSettings) -> str:
    """Names the patterns and how they are grouped."""
    return fingerprint(store.fingerprint(), settings.threshold, settings.linkage)


def run(context: RunContext) -> GroupSummary:
    """Correlate all base patterns and link them into groups, unless that was done already.

    Structures that were compared with each other for the groups before are not compared again.
    """
    settings = context.config.group
    with PatternStore.open(context.run.patterns, "r") as store:
        expected = expected_fingerprint(store, settings)
        saved = saved_groups(context.run)
        if saved is not None and saved.fingerprint == expected:
            return _summary(saved)
        if not store.n_structures:
            raise RunError(f"{context.run.patterns} holds no patterns; run the simulate stage")
        found = find_edges(context, store, saved, STAGE)
        made = _link(context, found, saved, expected)
    shutil.rmtree(context.run.groups / WORK, ignore_errors=True)
    return _summary(made, found)


def _link(context: RunContext, found: Found, saved: SavedGroups | None, expected: str) -> SavedGroups:
    """Groups from edges, with the ids of the classes that they continue; saved."""
    settings, n = context.config.group, len(found.ids)
    start = time.monotonic()
    with stage_events(
        context.on_event, "link", n_tasks=1, units="structures", n_units=n, cores=usable_cores()
    ) as listener:
        labels = labels_for(found.ids, found.edges, settings.linkage)
        rows = LiveRows(found.panels, found.live)
        before = saved.groups if saved else ()
        groups = build_groups(
            found.ids, labels, rows, memory_bytes=settings.memory_bytes, before=before, known=found.known
        )
        revision = saved.revision + 1 if saved else 1
        history = saved.history if saved else ()
        named = carry_ids(groups, before, history, revision)
        edges, digests = found.by_id()
        made = SavedGroups(named.groups, edges, settings, expected, digests, (*history, *named.events), revision)
        save_groups(context.run.groups, made)
        listener(finished("link", "linkage, and who is in what", n, time.monotonic() - start))
    return made


def saved_groups(run: RunDirectory) -> SavedGroups | None:
    """The groups on disk, if they can be read."""
    try:
        return load_groups(run.groups)
    except StoreError:
        return None


def current_groups(run: RunDirectory, store: PatternStore, config: RunConfig) -> SavedGroups:
    """The groups of a run, refused where they are not those of its patterns and settings."""
    saved = load_groups(run.groups)
    if saved.fingerprint != expected_fingerprint(store, config.group):
        raise RunError(f"the groups in {run.groups} belong to other patterns or settings; run the group stage")
    return saved


def _summary(saved: SavedGroups, found: Found | None = None) -> GroupSummary:
    sizes = [len(group) for group in saved.groups]
    summary = (sum(sizes), len(sizes), max(sizes), len(saved.edges))
    if found is None:
        return GroupSummary(*summary, reused=True)
    events = sum(event.revision == saved.revision for event in saved.history)
    return GroupSummary(
        *summary, reused=False, fresh=found.fresh, pairs=found.pairs, proven=found.proven, events=events
    )
