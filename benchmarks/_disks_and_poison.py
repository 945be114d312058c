"""Runs on a disk that is full, and with a structure that kills whoever simulates it."""

import errno
import shutil
import time
from pathlib import Path
from typing import Any

import yaml
from _disturbances import Target, small_disk
from _disturbed import Reference, check, in_the_middle, see_through
from _lab_run import LabRun, content, site
from _slurm import wait_until

from hpc_mlsm.stages.simulate import quarantined

DISKS = ("full-scratch", "full-store")
POISONS = ("poison-segfault", "poison-memory")
DISK_KIB = 128 * 1024
WORKER_MB = 700
"""Above what a worker needs, and little enough to be filled at once."""


def on_a_full_disk(name: str, stage: str, made: Reference, folder: Path) -> dict[str, Any]:
    """Fill the disk, of the run in the middle of its stage or of the scratch folder before, and free it later."""
    disk, ballast = folder / "disk", folder / "disk" / "ballast"
    row: dict[str, Any] = {"scenario": name, "stage": stage, "executor": "local"}
    start, last = time.monotonic(), "group" if stage == "simulate" else stage
    with small_disk(disk, DISK_KIB):
        more = {"scratch": str(disk / "scratch")} if name == "full-scratch" else {}
        run = LabRun(folder if more else disk / "it", site("local", **more))
        run.folder.mkdir(exist_ok=True)
        shutil.copytree(made.begun if stage == "simulate" else made.whole, run.folder / "run")
        if more:
            (disk / "scratch").mkdir()
            fill(ballast)
        jobs = run.submit(until=last)
        if not more:
            wait_until(lambda: in_the_middle(Target(run, stage, jobs[stage], "local")), f"the middle of {stage}")
            fill(ballast)
        row["before"] = run.done(stage)
        row["of"] = made.rounds if stage == "train" else made.content.structures
        row |= see_through(run, jobs, stage, last, mend=ballast.unlink)
        row["redone"], row["check"] = run.redone(stage), check(run, made, stage)
        row["said"] = said(run, stage, jobs[stage])
    return row | {"seconds": round(time.monotonic() - start)}


def with_poison(name: str, executor: str, made: Reference, folder: Path) -> dict[str, Any]:
    """Have one structure kill its workers: it is set aside with its reason, and not tried again."""
    shutil.copytree(made.begun, folder / "run")
    how = name.removeprefix("poison-")
    row: dict[str, Any] = {"scenario": name, "stage": "simulate", "executor": executor}
    start = time.monotonic()
    run = LabRun(folder, site(executor), f"{how}:{poisoned(made)}")
    if how == "memory":
        limit_memory(run)
    jobs = run.submit(until="group")
    row |= see_through(run, jobs, "simulate", "group")
    row |= {"of": made.content.structures, "redone": run.redone("simulate")}
    tried = run.redone("simulate")
    again = run.submit(until="group")
    see_through(run, again, "simulate", "group")
    aside = quarantined(run.run)
    found = content(run.run, made.content.structures - 1)
    faults = [found.faults] if found.faults else []
    faults += ["not the poison alone was set aside"] * ([one.id for one in aside] != [poisoned(made)])
    faults += ["tried again"] * (run.redone("simulate") != tried)
    row["check"] = "; ".join(faults) or "equal but for the poison"
    row["said"] = aside[0].detail if aside else ""
    return row | {"seconds": round(time.monotonic() - start)}


def poisoned(made: Reference) -> str:
    """Id of the structure to poison: one in the middle."""
    ids = made.ids
    return ids[len(ids) // 2]


def limit_memory(run: LabRun) -> None:
    """Write a limit of memory for each worker into the run's configuration."""
    raw = yaml.safe_load(run.run.config_file.read_text())
    raw["config"]["executor"]["memory_per_worker_mb"] = WORKER_MB
    run.run.config_file.write_text(yaml.safe_dump(raw))


def fill(path: Path) -> None:
    """Write until nothing more fits on the disk."""
    with path.open("wb", buffering=0) as file:
        for block in (2**20, 2**12, 1):
            try:
                while True:
                    file.write(b"\0" * block)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def said(run: LabRun, stage: str, job: str) -> str:
    """The program's own message in a job's log."""
    lines = [line for line in run.log(stage, job).splitlines() if line.startswith("hpc-mlsm: ")]
    return lines[0] if lines else ""
