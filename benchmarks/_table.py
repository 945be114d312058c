"""What every benchmark ends with: a table on the terminal, and JSON that says on which machine it was made."""

import json
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_info

_PACKAGES = ("hpc_mlsm", "numpy", "scipy", "numba", "h5py", "xgboost", "scikit-learn", "dask")


def report(name: str, rows: Sequence[dict[str, Any]], json_path: Path | None = None) -> None:
    """Print the rows of a benchmark as a table and, where a path is given, write them as JSON.

    Parameters
    ----------
    name : str
        Title of the table, and ``"benchmark"`` in the JSON.
    rows : sequence of dict
        One dict a line; columns are the keys in the order of their first appearance, a missing key is an empty
        cell. Units belong in the keys (``"time_s"``).
    json_path : Path, optional
        Where to write ``{"benchmark", "made", "machine", "rows"}``.
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(title=name)
    for column in columns:
        numeric = all(isinstance(row.get(column), int | float | None) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold", no_wrap=not numeric)
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    described = machine()
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table)
    console.print(
        f"{described['cpu']}, {described['cores_usable']} cores usable, {described['memory_gib']} GiB, "
        f"Python {described['python']}, {described['blas']}"
    )
    if json_path is not None:
        made = datetime.now(UTC).isoformat(timespec="seconds")
        content = {"benchmark": name, "made": made, "machine": described, "rows": list(rows)}
        json_path.parent.mkdir(parents=True, exist_ok=True)
        json_path.write_text(json.dumps(content, indent=2) + "\n")


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, memory, versions and threads of the numerical libraries."""
    blas = [
        f"{pool['internal_api']} {pool['version']} ({pool.get('architecture', '?')}), {pool['num_threads']} threads"
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    ]
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "blas": "; ".join(dict.fromkeys(blas)) or "no BLAS loaded",
        "threads_asked": {k: os.environ[k] for k in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS") if k in os.environ},
        "packages": _versions(),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"
    return str(value)
