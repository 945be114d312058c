"""What an update costs beside the full build: processor time of ingest, simulate, group and bookkeeping.

    python benchmarks/update.py [--structures 10833] [--variants 100] [--share 0.01] [--work FOLDER] [--json FILE]

A run of made-up structures is built, then a share of structures is added and the run is updated, each in one process
that starts with nothing imported; then once more without changes, which is what an update costs at least. Training is
left out: what it takes does not depend on how many structures are new. ``cpu_s`` is processor time of the process from
its beginning, imports included; ``share`` is of the full build's.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _table import report

SETTINGS = {
    "grid": {"r_min": 0.0, "r_max": 30.0, "r_step": 0.1},
    "u_iso": [0.005, 0.025],
    "q_min": [0.7, 0.7],
    "q_max": [25.0, 25.0],
    "q_damp": [0.04, 0.04],
    "delta2": [2.0, 2.0],
}


def main() -> None:
    """Build, update and update again; print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=int, default=10_833)
    parser.add_argument("--variants", type=int, default=100)
    parser.add_argument("--share", type=float, default=0.01, help="of the structures, added by the update")
    parser.add_argument("--work", type=Path, help="folder for the run, which is removed; a temporary one")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--child", nargs=2, metavar=("WHAT", "COUNT"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(asked.child[0], asked.work, int(asked.child[1]), asked.variants)
        return
    with tempfile.TemporaryDirectory(dir=asked.work) as folder:
        rows = list(compared(Path(folder), asked.structures, asked.variants, asked.share))
    report(f"update of {asked.structures} structures × {asked.variants} variants", rows, asked.json)


def compared(folder: Path, structures: int, variants: int, share: float) -> list[dict[str, Any]]:
    """Rows of the table."""
    run, more = folder / "run", structures + round(structures * share)
    warm_up = folder / "warm"
    started("build", warm_up, 5, variants)  # compiles the kernels, once a machine
    shutil.rmtree(warm_up)
    full = started("build", run, structures, variants)
    rows = [full | {"what": "full build", "share": 1.0}]
    for what in ("update", "update without changes"):
        one = started("update", run, more, variants)
        rows.append(one | {"what": what, "share": one["cpu_s"] / full["cpu_s"]})
    return rows


def started(what: str, run: Path, count: int, variants: int) -> dict[str, Any]:
    """One command in a process of its own: what it says, wall time and processor time."""
    command = [sys.executable, __file__, "--child", what, str(count), "--variants", str(variants), "--work", str(run)]
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {"what": what, "cpu_s": cpu, "wall_s": wall, **said}


def child(what: str, folder: Path, count: int, variants: int) -> None:
    """Build or update a run in this process, and say in JSON what was done."""
    from hpc_mlsm.config.load import parse_config
    from hpc_mlsm.runtime.events import ignore
    from hpc_mlsm.stages import update
    from hpc_mlsm.stages.context import open_run
    from hpc_mlsm.stages.run_directory import RunDirectory

    raw = {
        "name": "update",
        "source": {"starter": False, "substituted": {"count": count}},
        "simulate": SETTINGS | {"variants": variants},
        "executor": {"kind": "inline"},
    }
    untrained = update.train.TrainSummary(0, 0, 0, 0, 0.0, 1.0, 0, reused=True)
    update.train.run = lambda *_, **__: untrained  # type: ignore[assignment]
    update.evaluate.run = lambda *_: None  # type: ignore[assignment]
    with open_run(RunDirectory(folder), parse_config(raw, ()), ignore) as context:
        if what == "build":
            update.ingest.run(context)
            simulated = update.simulate.run(context).simulated
            said = {"simulated": simulated, "pairs": update.group.run(context).pairs}
        else:
            summary = update.run(context)
            said = {"simulated": summary.simulated, "pairs": summary.compared}
            said |= {f"{name}_s": round(seconds, 2) for name, seconds in summary.record.seconds.items()}
    print(json.dumps(said | {"rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)}))


if __name__ == "__main__":
    main()
