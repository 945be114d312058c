"""What executors cost: beside the work of tasks, in tasks a second, and at the start of workers.

    python benchmarks/executors.py [stage|rates|start|all] [--variants 3500] [--tasks 100000] [--json FILE]
    srun --ntasks=3 python benchmarks/executors.py stage --kind runner --folder SHARED     (or mpirun, --kind mpi)

``stage`` runs the simulate stage's tasks for the starter set in this process and on workers, by turns. ``rates`` hands
out empty tasks, tasks that sleep, and those of 10 833 structures without their work: on worker processes of this
machine, where driver and scheduler are one process, and on simulated workers, where all have processes of their own and
``driver_ms``, ``scheduler_ms`` and ``workers_ms`` are the processor time each of them spends on a task. Where these
share a few cores, the rate is that of all together; with a core for each, it is one over the largest of the three, the
workers' left out.
``busy`` is the share of the workers' time spent in tasks. ``start`` measures imports and compilation.
A file for JSON gets the name of the part appended.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from _table import report
from executors_pool import SimulatedPool
from executors_rates import empty_tasks, knee, paper_costs, peer_rate, rate, result_only, sleep
from executors_stage import by_turns, inline_and, starter_tasks
from executors_start import compile_times, import_times
from threadpoolctl import threadpool_limits

from hpc_mlsm.plan.cost import structure_cost
from hpc_mlsm.plan.tasks import plan_simulation
from hpc_mlsm.runtime.executor import Executor
from hpc_mlsm.runtime.factory import make_executor, take_place
from hpc_mlsm.runtime.local import LocalExecutor
from hpc_mlsm.runtime.settings import ExecutorSettings, SlurmSettings
from hpc_mlsm.scattering.settings import PdfSettings
from hpc_mlsm.structures.cif import read_cif
from hpc_mlsm.structures.starter import starter_set
from hpc_mlsm.structures.structure import Structure

PAPER_STRUCTURES = 10_833


def main() -> None:
    """Run what is asked for; a table for each part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=("stage", "rates", "start", "all"), default="all")
    parser.add_argument("--kind", choices=("local", "runner", "mpi", "slurm"), default="local", help="for stage")
    parser.add_argument("--workers", type=int, help="for stage, as many as --kind has (runner, mpi) or 1 and 2")
    parser.add_argument(
        "--variants", type=int, default=3500, help="of each structure; 3500 are about 20 s on a quiet core"
    )
    parser.add_argument("--repeats", type=int, default=3, help="turns of each executor")
    parser.add_argument("--tasks", type=int, default=100_000, help="empty tasks")
    parser.add_argument("--simulated", type=int, nargs="*", default=[64, 512], help="numbers of simulated workers")
    parser.add_argument("--plain", action="store_true", help="simulated workers without TLS")
    parser.add_argument("--cifs", type=Path, help="folder of CIFs whose costs the 10 833 structures have")
    parser.add_argument("--partition", help="of --kind slurm")
    parser.add_argument("--folder", type=Path, help="shared by all nodes, for patterns and what executors keep")
    parser.add_argument("--json", type=Path, help="file for the figures")
    asked = parser.parse_args()
    parts = {"stage": stage, "rates": rates, "start": start}
    for name, part in parts.items():
        if asked.part in (name, "all"):
            rows = part(asked)
            path = asked.json.with_name(f"{asked.json.stem}-{name}.json") if asked.json else None
            report(f"executors: {name}", rows, path)


def stage(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Overhead and efficiency of executors in the simulate stage."""
    counts = [asked.workers] if asked.workers else [1, 2]
    rows = []
    if asked.kind in ("runner", "mpi"):
        take_place(ExecutorSettings(asked.kind, interface="lo"), asked.folder)
        counts = [None]
    with tempfile.TemporaryDirectory(dir=asked.folder) as name, threadpool_limits(1):
        folder = Path(name)
        tasks = starter_tasks(folder, asked.variants)
        for count in counts:
            with _executor(asked, count, folder) as executor:
                label = f"{asked.kind}, {executor.capacity}"
                rows += by_turns(inline_and(label, executor), tasks, asked.repeats)
    return rows


def rates(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Tasks a second, and what each costs."""
    rows = []
    for workers in (1, 2):
        with LocalExecutor(workers) as local:
            n = min(asked.tasks, 3000 * workers)
            rate(local, partial(sleep, 0.0), empty_tasks(100), "warm")
            rows += [rate(local, partial(sleep, 0.0), empty_tasks(n), "empty, local"), peer_rate(local, n)]
    for workers in asked.simulated:
        with SimulatedPool(workers, tls=not asked.plain) as pool:
            rate(pool, partial(sleep, 0.0), empty_tasks(2 * workers), "warm")
            n = min(asked.tasks, 5000)
            rows += [rate(pool, partial(sleep, 0.0), empty_tasks(n), "empty, simulated"), peer_rate(pool, n)]
            costs = paper_costs(
                [structure_cost(one, PdfSettings()) for one in _structures(asked.cifs)], PAPER_STRUCTURES
            )
            tasks = plan_simulation(
                costs,
                PdfSettings(),
                "0" * 16,
                catalogue=Path("catalog.sqlite"),
                store=Path("patterns"),
            )
            rows.append(rate(pool, partial(result_only, 0.0), tasks, f"{PAPER_STRUCTURES} structures, no work"))
            rows.append(rate(pool, partial(result_only, 1.0), tasks, f"{PAPER_STRUCTURES} structures, asleep"))
        rows += knee(workers, (0.05, 0.2, 1.0), tls=not asked.plain)
    if asked.tasks > 5000 and asked.simulated:
        with SimulatedPool(asked.simulated[0], tls=not asked.plain) as pool:
            rows.append(rate(pool, partial(sleep, 0.0), empty_tasks(asked.tasks), "empty, many"))
    return rows


def start(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Imports and compilation."""
    return [*import_times(), *compile_times(4)]


def _executor(asked: argparse.Namespace, workers: int | None, folder: Path) -> Executor:
    slurm = SlurmSettings(partition=asked.partition, folder=folder / "jobs", walltime="00:30:00")
    memory_mb = 2000 if asked.kind == "slurm" else None
    interface = None if asked.kind == "local" else "lo"
    return make_executor(
        ExecutorSettings(asked.kind, workers, memory_per_worker_mb=memory_mb, slurm=slurm, interface=interface)
    )


def _structures(folder: Path | None) -> list[Structure]:
    if folder is None:
        return list(starter_set())
    return [structure for path in sorted(folder.rglob("*.cif")) for structure in read_cif(path)[0]]


if __name__ == "__main__":
    main()
