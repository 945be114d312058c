"""A run on the lab cluster, submitted as a user submits it, and what it left on the disk."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from _slurm import drop_jobs

from hpc_mlsm.config.load import load_config
from hpc_mlsm.errors import HpcMlsmError
from hpc_mlsm.grouping.groups import load_groups
from hpc_mlsm.models.bundle import read_manifest
from hpc_mlsm.runtime.event_log import read_events
from hpc_mlsm.runtime.events import TaskFinished
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.store.shard import inspect_shard

ROOT = Path(__file__).resolve().parents[1]
RECORDER = Path(__file__).resolve().parent / "_recorder"
PROGRAM = (sys.executable, "-m", "hpc_mlsm.cli.main")
STAGES = ("ingest", "simulate", "group", "train", "evaluate", "predict", "report")
ELEMENTS = ("Ni", "Cu", "Al", "Fe", "W", "Mg", "Si", "O", "Ti", "Zn", "Na", "Cl", "Ca", "C")
WORKERS = 2


def config(variants: int = 40, rounds: int = 400, elements: tuple[str, ...] = ELEMENTS) -> dict[str, Any]:
    """Settings of a run of a minute: the slowest engine, few structures, many small rounds."""
    boosted = {"rounds": rounds, "early_stopping_rounds": rounds, "max_depth": 4, "checkpoint_every": 10}
    return {
        "name": "lab",
        "select": {"allowed": list(elements)},
        "simulate": {"engine": "pdffit2", "variants": variants, "q_min": 0.0, "grid": {"r_max": 15.0}},
        "train": {"boosted": boosted, "retrieval": {"memory_mb": 8}, "together": {"threads": 1}},
        "executor": {"kind": "local", "workers": WORKERS},
    }


def site(executor: str, *, train: str = "local", signal_before_s: int = 10, **more: Any) -> dict[str, Any]:
    """A profile of the lab on which simulate and train run under the given executors, with two workers each."""
    shapes: dict[str, dict[str, Any]] = {
        "inline": {"executor": "inline"},
        "local": {"executor": "local", "cpus_per_task": WORKERS, "workers": WORKERS},
        "runner": {"executor": "runner", "tasks_per_node": WORKERS + 2},
        "runner on 2 nodes": {"executor": "runner", "nodes": 2, "tasks_per_node": WORKERS},
        "mpi": {"executor": "mpi", "tasks_per_node": WORKERS + 2},
        "slurm": {"executor": "slurm", "workers": WORKERS},
    }
    stages: dict[str, dict[str, Any]] = {stage: {"memory": "2G", "walltime": "00:20:00"} for stage in STAGES}
    for stage, kind in {"simulate": executor, "train": train}.items():
        stages[stage] |= {"memory": "4G", **shapes[kind]}
    if train == "local":
        stages["train"] |= {"cpus_per_task": 1, "workers": 1}  # one thread, as in undisturbed runs
    profile = {"partition": "batch", "interface": "lo", "signal_before_s": signal_before_s, "stages": stages}
    if "mpi" in (executor, train):
        profile |= {"launcher": "mpirun", "launcher_options": ["--oversubscribe"]}
    return profile | more


def environment(record: Path | None = None, poison: str = "") -> dict[str, str]:
    """The environment of a run's processes, with the recorder where it has something to do."""
    paths = [str(RECORDER)] * (record is not None or bool(poison)) + [str(ROOT)]
    own = {"PYTHONPATH": os.pathsep.join(paths), "HPC_MLSM_POISON": poison, "OMP_NUM_THREADS": "1"}
    own["HPC_MLSM_RECORD"] = str(record or "")
    root = ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM")
    return {**os.environ, **own, **(dict.fromkeys(root, "1") if os.getuid() == 0 else {})}


def hpc_mlsm(*words: object, cwd: Path, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run the program as a user does."""
    command = [*PROGRAM, *map(str, words)]
    return subprocess.run(
        command, cwd=cwd, env=env or environment(), capture_output=True, text=True, timeout=900, check=False
    )


@dataclass
class LabRun:
    """A run directory on the lab.

    Attributes
    ----------
    folder
        Holds ``run``, the site's profile, and the recorder's notes.
    site
        The profile, see ``site``.
    poison
        See the recorder.
    """

    folder: Path
    site: dict[str, Any]
    poison: str = ""

    @property
    def run(self) -> RunDirectory:
        """The run directory."""
        return RunDirectory(self.folder / "run")

    @property
    def record(self) -> Path:
        """Folder of the recorder's notes."""
        return self.folder / "record"

    def submit(self, *, until: str = "report") -> dict[str, str]:
        """Submit the chain; jobs after the stage ``until`` are cancelled at once. Job ids by stage."""
        self.record.mkdir(exist_ok=True)
        (self.folder / "site.yaml").write_text(yaml.safe_dump(self.site))
        done = hpc_mlsm(
            "submit",
            self.run.path,
            "--site",
            self.folder / "site.yaml",
            cwd=self.folder,
            env=environment(self.record, self.poison),
        )
        if done.returncode:
            raise RuntimeError(f"submit: {done.stderr or done.stdout}")
        jobs = {job["stage"]: job["job_id"] for job in json.loads((self.run.path / "jobs.json").read_text())}
        later = [number for stage, number in jobs.items() if STAGES.index(stage) > STAGES.index(until)]
        drop_jobs(*later)
        return {stage: number for stage, number in jobs.items() if number not in later}

    def log(self, stage: str, job: str) -> str:
        """What a job wrote."""
        path = self.run.path / "logs" / f"{stage}-{job}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def finished(self, stage: str) -> list[TaskFinished]:
        """Tasks or rounds of a stage that were finished, by the run's log of events."""
        events = read_events(self.run.events)
        return [event for event in events if isinstance(event, TaskFinished) and event.stage == stage]

    def done(self, stage: str) -> int:
        """Structures in the store, or rounds in the checkpoint: what a restart goes on from."""
        if stage == "train":
            try:
                return len(json.loads((self.run.checkpoints / "state.json").read_text())["history"])
            except (OSError, ValueError):
                return 0
        try:
            with PatternStore.open(self.run.patterns, "r") as store:
                return store.n_structures
        except HpcMlsmError:
            return 0

    def redone(self, stage: str) -> int:
        """Structures begun, or rounds grown, more than once: how often in excess."""
        if stage == "train":
            found = [re.match(r"round (\d+)", event.task_id) for event in self.finished("train")]
            units = [match[1] for match in found if match]
        else:
            units = [line for path in self.record.glob("begun-in-*") for line in path.read_text().splitlines()]
        return len(units) - len(set(units))


@dataclass(frozen=True)
class Content:
    """What is in a run, apart from when it was written.

    ``patterns``, ``groups`` and ``model`` are digests, empty where there is none; ``shards`` is one over the shards'
    own checksums; ``faults`` says in words what is wrong with the store by itself.
    """

    structures: int
    rows: int
    patterns: str
    groups: str
    shards: str
    model: str
    faults: str


def content(run: RunDirectory, wanted: int | None = None) -> Content:
    """Look at every shard on the disk, at the index, and at the groups."""
    faults = []
    with PatternStore.open(run.patterns, "r") as store:
        if bad := store.verify(full=True).bad:
            faults.append(f"bad shards: {', '.join(bad)}")
        n_structures, n_rows, patterns = store.n_structures, store.n_rows, store.fingerprint()
    records = [inspect_shard(path) for path in sorted(run.patterns.glob("shard-*.h5"))]
    twice = [key for key, times in Counter(row.id for one in records for row in one.structures).items() if times > 1]
    if twice:
        faults.append(f"{len(twice)} structures are in two shards")
    if wanted is not None and wanted != n_structures:
        faults.append(f"{n_structures} of {wanted} structures")
    if left := [path.name for path in run.patterns.iterdir() if path.name.endswith((".part", ".bad"))]:
        faults.append(f"left over: {', '.join(left)}")
    shards = "\n".join(sorted(f"{one.name} {one.checksum}" for one in records))
    return Content(n_structures, n_rows, patterns, _groups(run), _digest(shards), model(run), "; ".join(faults))


def model(run: RunDirectory) -> str:
    """Digest of the trained model's own file; empty where there is none."""
    if not run.model.is_dir():
        return ""
    name = read_manifest(run.model)["files"]["model"]["name"]
    return hashlib.blake2b((run.model / name).read_bytes(), digest_size=8).hexdigest()


def _groups(run: RunDirectory) -> str:
    if not (run.groups / "groups.json").exists():
        return ""
    members = [sorted(str(member) for member in group.members) for group in load_groups(run.groups).groups]
    return _digest(json.dumps(sorted(members)))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def prepared(folder: Path, raw: dict[str, Any], stages: tuple[str, ...]) -> RunDirectory:
    """A run in ``folder/run`` on which these stages were run here, undisturbed."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(raw))
    load_config(folder / "config.yaml")
    for stage in stages:
        done = hpc_mlsm(stage, folder / "config.yaml", "--run", folder / "run", cwd=folder)
        if done.returncode:
            raise RuntimeError(f"{stage}: {done.stderr}")
    return RunDirectory(folder / "run")
