"""What a worker pays before its first pattern: imports, and code that numba compiles or loads."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_IMPORT = "import dask.distributed\nfrom hpc_mlsm.stages.simulate import simulate_task\n"
_EACH_FOR_ITSELF = "from hpc_mlsm.scattering.compiled import compile_kernels\ncompile_kernels()\n"
_ONCE_A_NODE = """
from hpc_mlsm.runtime.once_a_node import once_a_node
from hpc_mlsm.scattering.compiled import compile_kernels, kernels_stamp
once_a_node(kernels_stamp(), compile_kernels)
compile_kernels()
"""
IMPORTS = {
    "interpreter": "pass",
    "dask.distributed": "import dask.distributed",
    "numpy and scipy": "import numpy, scipy.fft, scipy.stats.qmc",
    "numba": "import numba",
    "all that simulates": _IMPORT,
}


def import_times(repeats: int = 5) -> list[dict[str, Any]]:
    """Least time to import each, with files in the system's cache; each in a process of its own."""
    return [
        {"what": f"import: {name}", "processes": 1, "wall_s": min(_run([code])[0] for _ in range(repeats))}
        for name, code in IMPORTS.items()
    ]


def compile_times(processes: int) -> list[dict[str, Any]]:
    """From the start of the processes to compiled code in all, for an empty and a filled cache, less the imports."""
    rows = []
    imports_s = _run([_IMPORT] * processes)
    ways = {"each for itself": _EACH_FOR_ITSELF, "once a node": _ONCE_A_NODE}
    for cold in (True, False):
        for name, code in ways.items():
            for n in (1, processes):
                with tempfile.TemporaryDirectory() as cache:
                    if not cold:
                        _run([_ONCE_A_NODE], cache)
                    wall_s, cpu_s = _run([_IMPORT + code] * n, cache)
                rows.append(
                    {
                        "what": f"{'empty' if cold else 'filled'} cache, {name}",
                        "processes": n,
                        "wall_s": wall_s,
                        "cpu_s": cpu_s,
                    }
                )
    rows.append({"what": "imports alone", "processes": processes, "wall_s": imports_s[0], "cpu_s": imports_s[1]})
    return rows


def _run(codes: list[str], cache: str | None = None) -> tuple[float, float]:
    """Wall and processor seconds of processes that start together, one for each code."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    if cache:
        environment["NUMBA_CACHE_DIR"] = cache
    before, start = os.times(), time.perf_counter()
    running = [subprocess.Popen([sys.executable, "-c", code], env=environment) for code in codes]
    statuses = [one.wait() for one in running]
    after, wall = os.times(), time.perf_counter() - start
    if any(statuses):
        raise RuntimeError(f"a process ended with status {max(statuses)}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, cpu
