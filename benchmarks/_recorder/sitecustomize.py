"""Comes first on the PYTHONPATH of a run's processes: notes every structure they simulate, and poisons one of them.

Python imports this module by its name. ``HPC_MLSM_RECORD`` is the folder for the notes, one file a process with the ids
of the structures that were begun; its name tells the job, if any, as a plan made outside simulates a few structures
to see how long they take. ``HPC_MLSM_POISON`` is ``segfault:ID`` or ``memory:ID``: what simulating that
structure does to its process; or ``gate:ID``: in a job it waits for a file ``open`` in the folder; or
``frame:NUMBER``: reading that frame of an archive ends its process.
"""

import importlib.abc
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Sequence
from functools import wraps
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

BLOCK_BYTES = 64 * 2**20
NOTE = f"begun-in-{os.environ['SLURM_JOB_ID']}" if "SLURM_JOB_ID" in os.environ else "begun"


def _recorded(simulate: Any) -> Any:
    folder, (how, _, poison) = os.environ.get("HPC_MLSM_RECORD"), os.environ.get("HPC_MLSM_POISON", "").partition(":")

    @wraps(simulate)
    def simulate_structure(structure: Any, settings: Any) -> Any:
        if folder:
            with (Path(folder) / f"{NOTE}-{os.getpid()}").open("a") as file:
                file.write(f"{structure.id}\n")
        if structure.id == poison and how == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        while structure.id == poison and how == "gate" and NOTE != "begun" and not Path(f"{folder}/open").exists():
            time.sleep(0.1)
        blocks: list[bytes] = []
        while structure.id == poison and how == "memory":
            blocks.append(b"\1" * BLOCK_BYTES)
            time.sleep(0.05)  # whoever watches the memory looks ten times a second
        return simulate(structure, settings)

    return simulate_structure


def _poisoned(read: Any) -> Any:
    how, _, poison = os.environ.get("HPC_MLSM_POISON", "").partition(":")

    @wraps(read)
    def read_frames(index: Any, start: int, stop: int) -> Any:
        if how == "frame" and start <= int(poison) < stop:
            os.kill(os.getpid(), signal.SIGSEGV)
        return read(index, start, stop)

    return read_frames


PATCHED = {
    "hpc_mlsm.scattering.engines": ("simulate_structure", _recorded),
    "hpc_mlsm.archive.opening": ("read_frames", _poisoned),
}
"""Modules, and the function in each that something is put around."""


class _Loader(importlib.abc.Loader):
    """Loads the module as its own loader does, then changes one function in it."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Leave it to Python."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code, then put the recorder around its function."""
        self.loader.exec_module(module)
        name, around = PATCHED[module.__name__]
        setattr(module, name, around(getattr(module, name)))


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find the modules that are changed; all others are left to the other finders."""
        if name not in PATCHED:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        sys.meta_path.insert(0, self)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


if os.environ.get("HPC_MLSM_RECORD") or os.environ.get("HPC_MLSM_POISON"):
    sys.meta_path.insert(0, _Finder())
