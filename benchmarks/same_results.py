"""The whole PDF run under each executor, and whether all of them give the same.

    slurm/lab/cluster.sh start && eval "$(slurm/lab/cluster.sh env)"
    python benchmarks/same_results.py [--only inline,local,slurm,runner,mpi] [--variants N] [--rounds N] [--small]
        [--folder DIR] [--json FILE]

``patterns`` is a digest of all patterns with their ids and parameters, ``shards`` one of the files' checksums, and
``model`` one of the trained model's file, trained by one process with two threads, whoever simulated.
``slurm`` and ``runner`` need the lab cluster, ``mpi`` needs mpirun. Two workers each.
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from _lab_run import ELEMENTS, PROGRAM, WORKERS, content, environment
from _table import report

from hpc_mlsm.stages.run_directory import RunDirectory

SRUN = ("srun", f"--ntasks={WORKERS + 2}", f"--cpus-per-task={WORKERS}", "--mem=6G", "--kill-on-bad-exit=1")
MPIRUN = ("mpirun", "-n", str(WORKERS + 2), "--oversubscribe")
LAUNCHERS: dict[str, tuple[str, ...]] = {"inline": (), "local": (), "slurm": (), "runner": SRUN, "mpi": MPIRUN}
MUST_AGREE = ("status", "structures", "rows", "patterns", "shards", "groups", "model", "top_1", "faults")


def configuration(kind: str, folder: Path, variants: int, rounds: int, *, small: bool) -> dict[str, Any]:
    """Settings of the run under one executor."""
    executor: dict[str, Any] = {"kind": kind}
    if kind in ("local", "slurm"):
        executor["workers"] = WORKERS
    if kind in ("slurm", "runner", "mpi"):
        executor["interface"] = "lo"
    if kind == "slurm":
        executor |= {"memory_per_worker_mb": 1500, "slurm": {"partition": "batch", "folder": str(folder / "jobs")}}
        executor["slurm"] |= {"walltime": "00:30:00"}
    return {
        "name": kind,
        "select": {"allowed": list(ELEMENTS)} if small else {},
        "simulate": {"variants": variants},
        "train": {
            "boosted": {"rounds": rounds, "max_depth": 4, "subsample": 0.5, "colsample_bytree": 0.3},
            "workers": 1,
        },
        "predict": {"samples": 3},
        "executor": executor,
    }


def whole_run(kind: str, folder: Path, variants: int, rounds: int, *, small: bool) -> dict[str, Any]:
    """Run all stages under one executor; a row of the table."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = configuration(kind, folder, variants, rounds, small=small)
    (folder / f"{kind}.yaml").write_text(yaml.safe_dump(raw))
    run = RunDirectory(folder / kind)
    command = [*LAUNCHERS[kind], *PROGRAM, "run", str(folder / f"{kind}.yaml"), "--run", str(run.path)]
    start = time.monotonic()
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment() | {"SLURM_CPUS_PER_TASK": str(WORKERS)},  # threads of training, as under srun
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    row: dict[str, Any] = {"executor": kind, "status": done.returncode, "seconds": round(time.monotonic() - start, 1)}
    if done.returncode:
        return row | {"said": (done.stderr or done.stdout).strip()[-400:]}
    found = content(run)
    scores = json.loads(run.evaluation.read_text())
    row |= {"structures": found.structures, "rows": found.rows, "patterns": found.patterns[:12]}
    row |= {"groups": found.groups[:12], "shards": found.shards[:12], "model": found.model[:12], "top_1": top_1(scores)}
    return row | {"faults": found.faults, "noise": len(done.stderr.splitlines())}


def top_1(evaluation: dict[str, Any]) -> float:
    """Share of test patterns whose class the trees name first."""
    scores = evaluation["scores"]["XGBoost"]["top_k"]
    return float(scores["1"])


def differences(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What the executors do not agree in, of what they must."""
    return [key for key in MUST_AGREE if len({str(row.get(key)) for row in rows}) > 1]


def available() -> list[str]:
    """The executors that can run here."""
    slurm = bool(os.environ.get("SLURM_CONF")) and shutil.which("srun") is not None
    return ["inline", "local", *(["slurm", "runner"] if slurm else []), *(["mpi"] if shutil.which("mpirun") else [])]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all executors, print a table, and write JSON where asked; exit status 1 where they differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="executors, separated by commas")
    parser.add_argument("--variants", type=int, default=20, help="variants of each structure")
    parser.add_argument("--rounds", type=int, default=10, help="boosting rounds")
    parser.add_argument("--small", action="store_true", help="a part of the starter set only")
    parser.add_argument("--folder", type=Path, help="where the runs are kept; a temporary folder by default")
    parser.add_argument("--json", type=Path, help="file for the figures")
    asked = parser.parse_args(arguments)
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="hpc_mlsm-same-"))
    rows = []
    for kind in asked.only.split(",") if asked.only else available():
        rows.append(whole_run(kind, folder, asked.variants, asked.rounds, small=asked.small))
        print(rows[-1], flush=True)
    report("the whole run under each executor", rows, asked.json)
    wrong = differences(rows)
    print(f"they differ in {', '.join(wrong)}" if wrong else "all agree")
    raise SystemExit(1 if wrong or any(row["status"] for row in rows) else 0)


if __name__ == "__main__":
    main()
