"""Break runs on the lab cluster in the middle of a stage, let them go on, and count what was done twice.

    slurm/lab/cluster.sh start && eval "$(slurm/lab/cluster.sh env)"
    python benchmarks/failures.py [--only worker,poison-segfault] [--stages simulate,train] [--executors local,runner]
        [--folder DIR] [--json FILE]

Each row is one run, submitted by ``hpc-mlsm submit`` and disturbed once. ``before`` of ``of`` structures (or rounds)
were safe when it happened; ``redone`` counts what was begun more than once. ``check`` compares with an undisturbed
run: each structure exactly once, shards whole, and shards, patterns, groups and the trained model equal; and what was
seen of the jobs, the exit status included, is what it must be. Needs pdffit2 (extra ``diffpy``).
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from _disks_and_poison import DISKS, POISONS, on_a_full_disk, with_poison
from _disturbances import DISTURBANCES, NotThereError, Target
from _disturbed import Reference, check, in_the_middle, reference, see_through
from _lab_run import ELEMENTS, LabRun, config, site
from _slurm import slurm, wait_until
from _table import report

from hpc_mlsm.runtime.submit import read_jobs

ALL = ("local", "runner", "mpi", "slurm")
EXECUTORS: dict[str, dict[str, tuple[str, ...]]] = {
    "simulate": {
        "worker": ALL,
        "scheduler": ALL,
        "driver": ("runner",),
        "slurmd": ("runner on 2 nodes",),
        "slurmd-briefly": ("local",),
        "node-down": ("local", "runner on 2 nodes"),
        "usr1": ALL,
        "walltime": ("local",),
        "preempted": ("local", "runner"),
        "full-scratch": ("local",),
        "full-store": ("local",),
        "poison-segfault": ("local",),
        "poison-memory": ("local",),
    },
    "train": {
        "worker": ("runner", "mpi", "slurm"),
        "scheduler": ALL,
        "driver": ("runner",),
        "slurmd": ("local",),
        "slurmd-briefly": ("local",),
        "node-down": ("local", "runner on 2 nodes"),
        "usr1": ("local", "runner"),
        "walltime": ("local",),
        "preempted": ("local", "runner"),
        "full-scratch": ("local",),
        "full-store": ("local",),
    },
}
"""Under which executors a disturbance of a stage is of interest; ``local`` trains in one process."""

SEEN: dict[str, tuple[str, ...]] = {
    "worker": ("nothing",),
    "scheduler": ("FAILED",),
    "driver": ("FAILED",),
    "slurmd": ("requeued",),
    "slurmd-briefly": ("nothing",),
    "node-down": ("requeued",),
    "usr1": ("requeued 75",),
    "walltime": ("requeued 75",),
    "preempted": ("requeued",),
    "full-scratch": ("nothing",),
    "full-store": ("FAILED 1",),
    "poison-segfault": ("nothing",),
    "poison-memory": ("nothing",),
}
"""How the state and exit status of the disturbed job must begin. Workers keep nothing in scratch that they need."""

SLOW = ("slurmd", "walltime", "preempted")
"""What Slurm notices only after half a minute, for which the stage must be longer."""

LONGER = 4


def disturb(name: str, stage: str, executor: str, made: Reference, folder: Path) -> dict[str, Any]:
    """Run one stage, disturb it in the middle, and see it through to the end."""
    folder.mkdir(parents=True)
    shutil.copytree(made.begun if stage == "simulate" else made.whole, folder / "run")
    train = executor if stage == "train" else "local"
    run = LabRun(folder, site(executor if stage == "simulate" else "local", train=train))
    last, together = "group" if stage == "simulate" else stage, stage == "train" and executor != "local"
    row: dict[str, Any] = {"scenario": name, "stage": stage, "executor": executor}
    start = time.monotonic()
    jobs = run.submit(until=last)
    target = Target(run, stage, jobs[stage], executor)
    wait_until(lambda: in_the_middle(target), f"the middle of {stage}")
    row["before"], row["of"] = run.done(stage), made.rounds if stage == "train" else made.content.structures
    lost = len(run.finished(stage)) - row["before"]
    DISTURBANCES[name](target)
    row |= see_through(run, jobs, stage, last)
    # Training over workers tells of each round once, however often it was grown.
    row["redone"] = max(run.redone(stage), lost) if together else run.redone(stage)
    row["check"] = check(run, made, stage, together=together)
    row["seconds"] = round(time.monotonic() - start)
    return row


def scenarios(asked: argparse.Namespace) -> Iterator[tuple[str, str, str]]:
    """(name, stage, executor) of what was asked for."""
    only = asked.only.split(",") if asked.only else list(SEEN)
    for name in only:
        for stage in asked.stages.split(","):
            for kind in asked.executors.split(",") if asked.executors else EXECUTORS[stage].get(name, ()):
                yield name, stage, kind


def judged(row: dict[str, Any]) -> dict[str, Any]:
    """The row, with what is wrong with the states and exit statuses of its jobs."""
    faults = []
    if not str(row["seen"]).startswith(SEEN[row["scenario"]]):
        faults.append("the disturbed job ended otherwise")
    if row["end"] != "COMPLETED 0":
        faults.append("it did not complete")
    if "before" in row and not 0 < row["before"] < row["of"] and row["scenario"] != "full-scratch":
        faults.append("it was not in its middle")
    return row | {"check": "; ".join([row["check"], *faults])} if faults else row


def one(name: str, stage: str, executor: str, made: Reference, folder: Path) -> dict[str, Any]:
    """One row of the table, whatever happens."""
    start, row = time.monotonic(), {"scenario": name, "stage": stage, "executor": executor}
    try:
        if name in DISKS:
            folder.mkdir(parents=True)
            return judged(on_a_full_disk(name, stage, made, folder))
        if name in POISONS:
            return judged(with_poison(name, executor, made, folder))
        return judged(disturb(name, stage, executor, made, folder))
    except NotThereError as error:
        return row | {"check": f"skipped: {error}"}
    except RuntimeError as error:
        print(error, flush=True)
        return row | {"check": f"FAILED: {str(error)[:40]}", "seconds": round(time.monotonic() - start)}
    finally:
        slurm("scancel", *(job.job_id for job in read_jobs(folder / "run")), check=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the scenarios, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help=f"scenarios, separated by commas: {', '.join(SEEN)}")
    parser.add_argument("--stages", default="simulate,train", help="stages to disturb")
    parser.add_argument("--executors", default="", help="executors, where not those that are of interest")
    parser.add_argument("--variants", type=int, default=20, help="variants of each structure")
    parser.add_argument("--rounds", type=int, default=400, help="boosting rounds")
    parser.add_argument("--small", action="store_true", help="half of the structures")
    parser.add_argument("--folder", type=Path, help="where the runs are kept; a temporary folder by default")
    parser.add_argument("--json", type=Path, help="file for the figures")
    asked = parser.parse_args(arguments)
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="hpc_mlsm-failures-"))
    rows = []
    references: dict[int, Reference] = {}
    for name, stage, executor in scenarios(asked):
        times = LONGER if name in SLOW else 1
        if times not in references:
            raw = config(times * asked.variants, times * asked.rounds, ELEMENTS[:8] if asked.small else ELEMENTS)
            references[times] = reference(folder / f"reference-{times}", raw)
        made = references[times]
        row = one(name, stage, executor, made, folder / f"{name}-{stage}-{executor.replace(' ', '-')}")
        print(row, flush=True)
        rows.append({key: value for key, value in row.items() if key != "said"})
    report("runs that were disturbed", rows, asked.json)


if __name__ == "__main__":
    main()
