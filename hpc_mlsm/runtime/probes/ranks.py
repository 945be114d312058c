"""Whether the launcher of a site starts ranks that see each other."""

import json
import os
import platform
import uuid
from pathlib import Path
from typing import Any, Literal

from hpc_mlsm.runtime.probes.finding import Finding

RANKS = 2
LOG, STATUS = "launch.log", "launch.status"
Kind = Literal["runner", "mpi"]


def report_rank(folder: Path, kind: Kind) -> None:
    """What one rank sees, into a file of its own; runs in each of the started processes."""
    told = _mpi() if kind == "mpi" else _step()
    told |= {"node": os.environ.get("SLURMD_NODENAME") or platform.node()}
    (folder / f"rank-{uuid.uuid4().hex}.json").write_text(json.dumps(told))


def check_launch(where: str, folder: Path, kind: Kind, command: str, needed: bool) -> Finding:
    """What became of the launch of two ranks.

    Parameters
    ----------
    command
        What started them, for messages.
    needed
        Whether a stage of the site depends on it; else what goes wrong is a warning.
    """
    check = f"launch by {command.split()[0]}"
    bad: Literal["failure", "warning"] = "failure" if needed else "warning"
    ranks: list[dict[str, Any]] = [json.loads(path.read_text()) for path in folder.glob("rank-*.json")]
    status = _read(folder / STATUS) or "unknown"
    missing = next((one["error"] for one in ranks if one.get("error")), "")
    if missing:
        return Finding(check, where, bad, missing, 'load the MPI of the cluster, then: pip install "hpc_mlsm[mpi]"')
    if len(ranks) < RANKS:
        said = _said(_read(folder / LOG)) or "it said nothing"
        what = f"{len(ranks)} of {RANKS} ranks started (exit status {status}): {said}"
        return Finding(check, where, bad, what, _remedy(command))
    alone = [one for one in ranks if one["size"] < RANKS]
    if alone:
        library = alone[0].get("library", "")
        what = f"{RANKS} ranks started, each sees itself alone" + (f": mpi4py uses {library}" if library else "")
        remedy = (
            f"load the MPI that {command.split()[0]} belongs to, or rebuild mpi4py for it (pip install --no-binary "
        )
        remedy += "mpi4py --force-reinstall mpi4py); with srun, try launcher_options: [--mpi=pmix]"
        return Finding(check, where, bad, what, remedy)
    nodes = sorted({one["node"] for one in ranks})
    library = ranks[0].get("library", "")
    figure = f"{RANKS} ranks see each other on {', '.join(nodes)}" + (f", {library}" if library else "")
    return Finding(check, where, "ok", figure)


def _said(log: str) -> str:
    """The beginning of what a launcher said, without its rulers."""
    lines = [line.strip() for line in log.splitlines()]
    return " ".join([line for line in lines if line.strip("-=* ")][:4])


def _remedy(command: str) -> str:
    if command.startswith("mpirun"):
        return "load the module of an MPI (modules:), check launcher_options:, or set launcher: srun"
    return "check launcher_options: (`srun --mpi=list` shows what there is), or set launcher: mpirun"


def _mpi() -> dict[str, Any]:
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        return {"error": f"MPI cannot be used: {error}"}
    world = MPI.COMM_WORLD
    met = world.allgather(world.Get_rank())
    library = MPI.Get_library_version().splitlines()[0].split(",")[0].strip(" \0")
    return {"rank": world.Get_rank(), "size": len(met), "library": library}


def _step() -> dict[str, Any]:
    size = os.environ.get("SLURM_STEP_NUM_TASKS", "1")
    return {"rank": int(os.environ.get("SLURM_PROCID", "0")), "size": int(size)}


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
