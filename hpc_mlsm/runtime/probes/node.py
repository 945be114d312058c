"""The checks of one compute node: what the probe's job runs there, and the file that tells of it."""

import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.probes import packages
from hpc_mlsm.runtime.probes.disk import check_folder, check_scratch
from hpc_mlsm.runtime.probes.finding import Finding
from hpc_mlsm.runtime.probes.gpu import check_gpus
from hpc_mlsm.runtime.probes.network import Listener, check_clock, check_interface, check_reach
from hpc_mlsm.runtime.probes.shared import check_seen, contest, open_contest

ORDER = "order.json"
CONTACT = "contact.json"
PATIENCE_S = 30.0


@dataclass(frozen=True)
class Order:
    """What the nodes of a probe are asked to look at.

    Attributes
    ----------
    token
        Found in the folder where it is the same one.
    nodes
        How many nodes the job has; the first listens, and the others reach it.
    login
        Address and port on the login node, or None where it is not to be reached.
    interface, gpus, extras
        Of the profile.
    packages
        Versions on the login node.
    written
        Login node's clock minus that of the file system (s).
    queue
        Whether Slurm's commands must work on the node.
    """

    token: str
    nodes: int
    login: tuple[str, int] | None
    interface: str | None
    gpus: int
    extras: tuple[str, ...]
    packages: dict[str, str]
    written: float
    queue: bool


def node_name() -> str:
    """Slurm's name of this node, where this is a job."""
    return os.environ.get("SLURMD_NODENAME") or platform.node()


def clock_of_files(folder: Path) -> float:
    """This node's clock minus that of the file system (s); the clock of files is the server's on most of them."""
    probe = folder / f".clock-{node_name()}"
    before = time.time()
    probe.write_text("")
    after = time.time()
    found = (before + after) / 2 - probe.stat().st_mtime
    probe.unlink(missing_ok=True)
    return found


def write_order(folder: Path, order: Order) -> None:
    """Where the nodes find it."""
    (folder / ORDER).write_text(json.dumps(asdict(order)))


def probe_node(folder: Path) -> None:
    """Look at everything the order asks for, and write what was found into a file of this node."""
    raw = json.loads((folder / ORDER).read_text())
    order = Order(**raw | {"login": tuple(raw["login"]) if raw["login"] else None, "extras": tuple(raw["extras"])})
    where = node_name()
    findings = list(_findings(order, folder, where))
    part = folder / f".node-{where}.part"
    part.write_text(json.dumps([one.plain() for one in findings]))
    os.replace(part, folder / f"node-{where}.json")


def _findings(order: Order, folder: Path, where: str) -> Iterator[Finding]:
    with _met(order, folder) as problem:
        if problem is not None:
            yield problem
        have = packages.this_environment()
        yield packages.check_packages(where, have, order.extras)
        yield packages.compare_packages(where, order.packages, have)
        yield check_interface(where, order.interface)
        yield from _reach(order, folder, where)
        yield from check_seen(where, folder, order.token)
        with suppress(OSError):  # without hard links, which was told already
            contest(folder, where, open_contest(folder))
        yield from check_folder("shared folder", where, folder)
        yield from check_scratch(where, _scratch(), folder)
        yield from check_gpus(where, order.gpus)
        if order.queue:
            yield _queue(where)


@contextmanager
def _met(order: Order, folder: Path) -> Iterator[Finding | None]:
    """On the first node of several, listen for the others as a scheduler does, until all have told."""
    if order.nodes < 2 or os.environ.get("SLURM_NODEID", "0") != "0":
        yield None
        return
    try:
        listener = Listener(folder / "between", order.interface)
    except (ExecutorError, OSError) as error:
        remedy = "name another interface: in the profile"
        yield Finding("listens for other nodes", node_name(), "failure", str(error), remedy)
        return
    with listener:
        part = folder / f".{CONTACT}"
        part.write_text(json.dumps([node_name(), listener.address, listener.port]))
        os.replace(part, folder / CONTACT)
        yield None
        deadline = time.monotonic() + PATIENCE_S
        while len(list(folder.glob("node-*.json"))) < order.nodes - 1 and time.monotonic() < deadline:
            time.sleep(0.1)


def _reach(order: Order, folder: Path, where: str) -> Iterator[Finding]:
    exchange = None
    if order.login is not None:
        found, exchange = check_reach(where, "the login node", *order.login, folder)
        yield found
    if exchange is not None:
        yield check_clock(where, exchange.skew_s, exchange.delay_s / 2)
    else:
        # By way of the file system, whose clock both were compared with.
        yield check_clock(where, clock_of_files(folder) - order.written, 0.1, "the login node, by times of files")
    if order.nodes < 2 or os.environ.get("SLURM_NODEID", "0") == "0":
        return
    deadline = time.monotonic() + PATIENCE_S
    while not (folder / CONTACT).exists() and time.monotonic() < deadline:
        os.listdir(folder)
        time.sleep(0.1)
    if not (folder / CONTACT).exists():
        yield Finding(
            "reaches other nodes",
            where,
            "failure",
            "the first node of the job does not listen",
            "see what is said of it",
        )
        return
    name, address, port = json.loads((folder / CONTACT).read_text())
    yield check_reach(where, name, address, port, folder / "between")[0]


def _scratch() -> str:
    return os.environ.get("HPC_MLSM_PROBED_SCRATCH") or os.environ.get("TMPDIR") or "/tmp"


def _queue(where: str) -> Finding:
    """Jobs put themselves back into the queue before their walltime ends, and some submit workers."""
    check = "Slurm's commands"
    remedy = (
        "jobs cannot come back before their walltime ends, nor submit workers: ask for Slurm's commands on the nodes"
    )
    missing = [name for name in ("scontrol", "squeue", "sbatch", "srun") if shutil.which(name) is None]
    if missing:
        return Finding(check, where, "warning", f"no {', '.join(missing)} here", remedy)
    job = os.environ.get("SLURM_JOB_ID", "0")
    try:
        done = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(check, where, "warning", str(error), remedy)
    if done.returncode:
        return Finding(check, where, "warning", done.stderr.strip() or "scontrol fails", remedy)
    return Finding(check, where, "ok", "scontrol, squeue, sbatch and srun are there, and the controller answers")
