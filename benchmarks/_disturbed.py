"""One run that is disturbed: until its middle, what becomes of it, and how it compares with an undisturbed one."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _disturbances import Target
from _lab_run import Content, LabRun, content, prepared
from _slurm import field, outcome, restarts, settled, wait_for_end, wait_until

from hpc_mlsm.store.patterns import PatternStore

MIDDLE = {"simulate": 2, "train": 25}
"""How many tasks or rounds are finished before something happens."""


@dataclass(frozen=True)
class Reference:
    """The undisturbed run: begun, and whole."""

    begun: Path
    whole: Path
    content: Content
    rounds: int
    ids: tuple[str, ...]


def reference(folder: Path, raw: dict[str, Any]) -> Reference:
    """Make the run that all others are compared with."""
    begun = prepared(folder / "begun", raw, ("ingest",))
    shutil.copytree(begun.path.parent, folder / "whole")
    whole = prepared(folder / "whole", raw, ("simulate", "group"))
    with PatternStore.open(whole.patterns, "r") as store:
        ids = tuple(store.ids())
    return Reference(begun.path, whole.path, content(whole), raw["train"]["boosted"]["rounds"], ids)


def in_the_middle(target: Target) -> bool:
    """Whether a stage has got something done."""
    if field(target.job, "JobState") in ("FAILED", "COMPLETED", "CANCELLED"):
        log = target.run.log(target.stage, target.job).strip()[-600:]
        raise RuntimeError(f"{target.stage} ended before it could be disturbed: {log}")
    return len(target.run.finished(target.stage)) >= MIDDLE[target.stage]


def see_through(
    run: LabRun, jobs: dict[str, str], stage: str, last: str, mend: Callable[[], object] = int
) -> dict[str, Any]:
    """Wait for the end, submitting again after a failure as a user would; what was seen on the way.

    ``mend`` removes the cause of the failure before.
    """
    job = jobs[stage]
    seen = how = ""
    wait_until(lambda: settled(job, 0), f"job {job} to end or come back")
    if restarts(job):
        seen, how = f"requeued {outcome(job).rpartition(' ')[2]}", "requeued"
        wait_for_end(job)
    if field(job, "JobState") != "COMPLETED":
        seen += f"{' then ' if seen else ''}{outcome(job)}"
        if last != stage:
            wait_until(
                lambda: field(jobs[last], "JobState") in ("CANCELLED", ""),
                "the successors to leave the queue",
            )
        how = "submitted again"
        mend()
        jobs = run.submit(until=last)
        wait_for_end(jobs[stage])
    wait_for_end(jobs[last])
    return {"seen": seen or "nothing", "resumed": how or "went on", "end": outcome(jobs[last])}


def check(run: LabRun, made: Reference, stage: str) -> str:
    """What is wrong after all; "equal" where nothing is."""
    found = content(run.run, made.content.structures)
    faults = [found.faults] if found.faults else []
    faults += ["patterns differ"] * (found.patterns != made.content.patterns)
    faults += ["groups differ"] * (found.groups != made.content.groups)
    if stage == "train":
        faults += ["no model"] * (not run.run.model.is_dir()) + ["checkpoints left"] * run.run.checkpoints.exists()
    return "; ".join(faults) or "equal"
