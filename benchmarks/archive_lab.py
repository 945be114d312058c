"""A synthetic archive through the lab cluster, with nodes killed on the way, against an undisturbed run of it.

    slurm/lab/cluster.sh start && eval "$(slurm/lab/cluster.sh env)"
    python benchmarks/archive_lab.py --model runs/pdf --frames 20000 --folder DIR [--json FILE]

Every step is a job; ``predict`` has workers in jobs of their own. A node of workers is killed in ``predict``, and the
job's node in ``refine``: its slurmd and all processes on it. Then everything that came back has to be that of the
undisturbed run, byte for byte. The archive is synthetic.
"""

import argparse
import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import yaml
from _disturbances import LAB
from _lab_run import environment, hpc_mlsm
from _slurm import field, node_state, restarts, wait_for_end, wait_until
from _table import report

from hpc_mlsm.archive.synthetic_archive import Crystallisation, write_synthetic_archive
from hpc_mlsm.runtime.event_log import read_events
from hpc_mlsm.runtime.events import TaskFinished, WorkerLost
from hpc_mlsm.stages.archive import STEPS
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.structures.starter import starter_set

SETTINGS = ("refine.budget.fits=60", "executor.kind=inline")
COMPARED = ("archive/frames.csv", "archive/components.csv")
AFTER = {"predict": 1, "refine": 1}
"""How many tasks of a step are finished before a node is killed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=24_000)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    stack = folder / "synthetic.h5"
    if not stack.exists():
        by_formula = {one.formula: one for one in starter_set()}
        phases = [by_formula["Fe2O3"], by_formula["TiO2"]]
        write_synthetic_archive(stack, phases, Crystallisation(frames=asked.frames))
    sets = [word for one in SETTINGS for word in ("--set", one)]
    whole, broken = folder / "whole", folder / "broken"
    start = time.perf_counter()
    _run("archive", stack, "--model", asked.model.resolve(), "--out", whole, *sets, folder=folder)
    rows = [{"run": "undisturbed, one process", "seconds": round(time.perf_counter() - start)}]
    start = time.perf_counter()
    seen = _disturbed(folder, broken, stack, asked.model.resolve(), sets)
    equal = all((whole / name).read_bytes() == (broken / name).read_bytes() for name in COMPARED)
    rows.append(
        {"run": "on the lab, two nodes killed", "seconds": round(time.perf_counter() - start)}
        | seen
        | {"result": "equal" if equal else "differs"}
    )
    report(f"a synthetic archive of {asked.frames} frames through the lab", rows, asked.json)


def _disturbed(folder: Path, run: Path, stack: Path, model: Path, sets: list[str]) -> dict[str, Any]:
    (folder / "site.yaml").write_text(yaml.safe_dump(_site()))
    config = [f"predict.model={model}", f"predict.patterns=[{stack}]"]
    chosen = [*sets, *(word for one in config for word in ("--set", one))]
    source = Path(__file__).resolve().parents[1] / "configs" / "run" / "archive.yaml"
    _run("submit", source, "--run", run, "--site", folder / "site.yaml", *chosen, folder=folder)
    jobs = {job["stage"]: job["job_id"] for job in json.loads((run / "jobs.json").read_text())}
    seen: dict[str, Any] = {}
    for step in STEPS:
        if step in AFTER:
            wait_until(lambda step=step: _finished(run, step) >= AFTER[step], f"the middle of {step}")
            seen[f"node killed in {step}"] = _kill_a_node(folder, jobs[step], of_workers=step == "predict")
        wait_for_end(jobs[step])
        if field(jobs[step], "JobState") != "COMPLETED":
            raise RuntimeError(f"{step} ended {field(jobs[step], 'JobState')}; see {run / 'logs'}")
        seen[f"{step} requeued"] = restarts(jobs[step])
    events = read_events(RunDirectory(run).events)
    done = Counter((event.stage, event.task_id) for event in events if isinstance(event, TaskFinished))
    lost = sum(isinstance(event, WorkerLost) for event in events)
    return seen | {"workers lost": lost, "tasks": len(done), "tasks done twice": sum(done.values()) - len(done)}


def _site() -> dict[str, Any]:
    usual = {"memory": "6G", "walltime": "00:30:00", "cpus_per_task": 2}
    workers = {"executor": "slurm", "workers": 3, "worker_memory": "2G"}
    stages = {step: dict(usual) for step in STEPS}
    stages["predict"] |= workers
    for step in ("decompose", "refine"):
        stages[step] |= {"executor": "local", "workers": 2}
    return {"partition": "batch", "interface": "lo", "signal_before_s": 10, "stages": stages}


def _finished(run: Path, step: str) -> int:
    log = RunDirectory(run).events
    return sum(isinstance(one, TaskFinished) and one.stage == step for one in read_events(log)) if log.exists() else 0


def _kill_a_node(folder: Path, job: str, *, of_workers: bool) -> str:
    """Kill a node that this run is on, wait until Slurm has missed it, and bring it back."""
    own = field(job, "BatchHost")
    nodes = {process.environ()["SLURMD_NODENAME"] for process in _processes(folder)}
    node = next((one for one in sorted(nodes) if one != own), own) if of_workers else own
    pid = int((Path(os.environ["SLURM_CONF"]).parent / f"slurmd.{node}.pid").read_text())
    victims = [one for one in _processes(folder) if one.environ()["SLURMD_NODENAME"] == node]
    keepers = {above.pid for one in victims for above in one.parents() if above.name().startswith("slurmstepd")}
    for number in (pid, *keepers, *(one.pid for one in victims)):
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    try:
        wait_until(lambda: node_state(node).startswith("DOWN"), f"node {node} to be missed", 120)
    finally:
        subprocess.run(["bash", str(LAB), "start"], capture_output=True, timeout=180, check=True)
    return f"{node}, {len(victims)} processes"


def _processes(folder: Path) -> Iterator[psutil.Process]:
    """Processes of this run on nodes of the cluster."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            variables = process.environ()
            if variables.get("HPC_MLSM_RECORD") == str(folder / "record") and "SLURMD_NODENAME" in variables:
                yield process


def _run(*words: object, folder: Path) -> None:
    (folder / "record").mkdir(parents=True, exist_ok=True)
    done = hpc_mlsm(*words, cwd=folder, env=environment(folder / "record"))
    if done.returncode:
        raise RuntimeError(f"{words[0]}: {done.stderr or done.stdout}")


if __name__ == "__main__":
    main()
