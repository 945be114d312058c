"""One run that is disturbed: until its middle, what becomes of it, and how it compares with an undisturbed one."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _disturbances import Target
from _lab_run import WORKERS, Content, LabRun, content, hpc_mlsm, model, prepared
from _slurm import field, outcome, restarts, settled, wait_for_end, wait_until

from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.store.patterns import PatternStore

MIDDLE = {"simulate": 4, "train": 15}
"""How many tasks or rounds are finished before something happens."""


@dataclass(frozen=True)
class Reference:
    """The undisturbed run: begun, and whole."""

    begun: Path
    whole: Path
    content: Content
    rounds: int
    ids: tuple[str, ...]

    def model(self, *, together: bool) -> str:
        """Digest of the model that an undisturbed training gives, in one process or over two workers."""
        folder = self.whole.parents[1] / ("together" if together else "alone")
        run = RunDirectory(folder / "run")
        if not run.path.exists():
            shutil.copytree(self.whole, run.path)
            workers = WORKERS if together else 1
            sets = ("--set", f"train.workers={workers}", "--set", f"executor.workers={workers}")
            done = hpc_mlsm("train", run.path, *sets, cwd=folder)
            if done.returncode:
                raise RuntimeError(f"train: {done.stderr}")
        return model(run)


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
        how = "requeued"
        wait_for_end(job)
        seen = f"requeued{' 75' * drained(run, stage, job)}"
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


def drained(run: LabRun, stage: str, job: str) -> bool:
    """Whether a job put itself back into the queue, which it does where the program ends with status 75 only."""
    return "is back in the queue and will go on from what is there" in run.log(stage, job)


def check(run: LabRun, made: Reference, stage: str, *, together: bool = False) -> str:
    """What is wrong after all; "equal" where nothing is.

    A model that was trained over workers depends on how many of them there were, and they may change on the way.
    """
    found = content(run.run, made.content.structures)
    faults = [found.faults] if found.faults else []
    faults += ["patterns differ"] * (found.patterns != made.content.patterns)
    faults += ["groups differ"] * (found.groups != made.content.groups)
    faults += ["shards differ"] * (found.shards != made.content.shards)
    differs = stage == "train" and found.model != made.model(together=together)
    faults += ["model differs"] * (differs and not together)
    if stage == "train":
        faults += ["no model"] * (not run.run.model.is_dir()) + ["checkpoints left"] * run.run.checkpoints.exists()
    return "; ".join(faults) or ("equal but for the model" if differs else "equal")
