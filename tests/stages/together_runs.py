"""A small run that is ready to be trained over workers, and ways to disturb that."""

import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from small_run import FORMULAE, opened, small_config, write_cifs

from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.stages import group, ingest, simulate
from hpc_mlsm.stages.run_directory import RunDirectory

LOCAL = ("executor.kind=local", "executor.workers=2", "executor.grace_s=30")
PATIENT = ("train.together.silence_s=5", "train.together.wait_s=30", "train.together.stall_s=60")


def rounds(n: int, checkpoint_every: int = 5) -> tuple[str, ...]:
    """Overrides for a training of exactly n rounds."""
    most = (f"train.boosted.rounds={n}", f"train.boosted.early_stopping_rounds={n}")
    return (*most, f"train.boosted.checkpoint_every={checkpoint_every}")


def prepared(folder: Path) -> Path:
    """A run with everything that training needs."""
    config = small_config(write_cifs(folder / "cifs", FORMULAE), "simulate.variants=60")
    with opened(folder / "run", config) as context:
        ingest.run(context)
        simulate.run(context)
        group.run(context)
    return folder


def config_of(folder: Path, *overrides: str) -> RunConfig:
    return small_config(folder / "cifs", "simulate.variants=60", *overrides)


def copied(ready: Path, folder: Path) -> RunDirectory:
    shutil.copytree(ready / "run", folder / "run")
    return RunDirectory(folder / "run")


def checkpointed(run: RunDirectory) -> int:
    """Rounds of the checkpoint on disk."""
    try:
        return len(json.loads((run.checkpoints / "state.json").read_text())["history"])
    except (OSError, ValueError):
        return 0


def members(parent: psutil.Process | None = None) -> list[psutil.Process]:
    """Processes that train, below a process."""
    found = []
    for process in (parent or psutil.Process()).children(recursive=True):
        try:
            if "hpc_mlsm.runtime.member" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def once(ready: Callable[[], bool], action: Callable[[], object], timeout_s: float = 150.0) -> threading.Thread:
    """Do something in another thread as soon as it can be done."""

    def wait() -> None:
        deadline = time.monotonic() + timeout_s
        while not ready():
            if time.monotonic() > deadline:
                return
            time.sleep(0.02)
        action()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread
