"""Group: structures whose base patterns correlate become one class."""

import time
from dataclasses import dataclass

from hpc_mlsm.config.fingerprint import fingerprint
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.errors import RunError, StoreError
from hpc_mlsm.grouping.blocks import correlate_all
from hpc_mlsm.grouping.groups import SavedGroups, build_groups, load_groups, save_groups
from hpc_mlsm.grouping.linkage import labels_for
from hpc_mlsm.grouping.settings import GroupSettings
from hpc_mlsm.runtime.events import stage_events
from hpc_mlsm.runtime.resources import usable_cores
from hpc_mlsm.stages.context import RunContext, finished
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.store.patterns import PatternStore

STAGE = "group"


@dataclass(frozen=True)
class GroupSummary:
    """What the stage found; ``reused`` where the groups on disk were already those of these patterns."""

    structures: int
    groups: int
    largest: int
    edges: int
    reused: bool


def expected_fingerprint(store: PatternStore, settings: GroupSettings) -> str:
    """Names the patterns and how they are grouped."""
    return fingerprint(store.fingerprint(), settings.threshold, settings.linkage)


def run(context: RunContext) -> GroupSummary:
    """Correlate all base patterns and link them into groups, unless that was done already."""
    settings = context.config.group
    with PatternStore.open(context.run.patterns, "r") as store:
        ids = store.ids()
        if not ids:
            raise RunError(f"{context.run.patterns} holds no patterns; run the simulate stage")
        expected = expected_fingerprint(store, settings)
        try:
            saved = load_groups(context.run.groups)
        except StoreError:
            saved = None
        if saved is not None and saved.fingerprint == expected:
            return _summary(saved, reused=True)
        with stage_events(
            context.on_event, STAGE, n_tasks=1, units="structures", n_units=len(ids), cores=usable_cores()
        ) as listener:
            start = time.monotonic()
            memory = settings.memory_mb * 10**6
            points = len(store.axis().values)
            edges = correlate_all(store.base_rows, len(ids), points, settings.threshold, memory_bytes=memory)
            labels = labels_for(ids, edges, settings.linkage)
            groups = build_groups(ids, labels, store.base_rows, memory_bytes=memory)
            save_groups(context.run.groups, groups, edges, settings, expected)
            seconds = time.monotonic() - start
            listener(finished(STAGE, "correlation and linkage", len(ids), seconds))
    return _summary(SavedGroups(groups, edges, settings, expected), reused=False)


def current_groups(run: RunDirectory, store: PatternStore, config: RunConfig) -> SavedGroups:
    """The groups of a run, refused where they are not those of its patterns and settings."""
    saved = load_groups(run.groups)
    if saved.fingerprint != expected_fingerprint(store, config.group):
        raise RunError(f"the groups in {run.groups} belong to other patterns or settings; run the group stage")
    return saved


def _summary(saved: SavedGroups, *, reused: bool) -> GroupSummary:
    sizes = [len(group) for group in saved.groups]
    return GroupSummary(sum(sizes), len(sizes), max(sizes), len(saved.edges), reused)
