"""Ranks that train one model together: who they are, as Slurm, MPI or TF_CONFIG says, and where each one listens.

Unlike the ranks of ``runner`` and ``mpi`` executors these are all alike. They exchange addresses and what each says of
itself once, before the training; then they talk by the training library's own means.
"""

import hashlib
import json
import os
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.mpi import MpiMeeting
from hpc_mlsm.runtime.rank_files import exchange_by_files
from hpc_mlsm.runtime.runner import tasks_per_node

Launcher = Literal["alone", "slurm", "mpi", "tf_config"]
Card = dict[str, str]

MEET_TIMEOUT_S = 300.0
"""How long ranks wait for each other at the start: nodes of one job may start minutes apart."""

_MPI_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS")


@dataclass(frozen=True)
class TrainingRanks:
    """This rank, all addresses (host:port, empty for a single process), and what each rank said of itself."""

    rank: int
    local_rank: int
    ranks_here: int
    addresses: tuple[str, ...]
    cards: tuple[Card, ...]


def launcher() -> Launcher:
    """How this process was started, by its environment; a single process counts as ``alone``."""
    if os.environ.get("TF_CONFIG"):
        return "tf_config"
    # An mpirun inside a Slurm job hands on the variables of the step by which it starts its daemons.
    if any(_number(name, 1) > 1 for name in _MPI_SIZES[:1]):
        return "mpi"
    if _number("SLURM_STEP_NUM_TASKS", 1) > 1 and "SLURM_PROCID" in os.environ:
        return "slurm"
    return "mpi" if any(_number(name, 1) > 1 for name in _MPI_SIZES) else "alone"


def own_rank() -> int:
    """Number of this rank, known before ranks meet: rank 0 alone may write."""
    kind = launcher()
    if kind == "tf_config":
        return _TfConfig().rank
    names = {"mpi": ("OMPI_COMM_WORLD_RANK", "PMI_RANK"), "slurm": ("SLURM_PROCID",), "alone": ()}[kind]
    return next((_number(name, 0) for name in names if name in os.environ), 0)


def ranks_started() -> int:
    """How many ranks this launch has."""
    kind = launcher()
    if kind == "tf_config":
        return _TfConfig().ranks
    names = {"mpi": _MPI_SIZES, "slurm": ("SLURM_STEP_NUM_TASKS",), "alone": ()}[kind]
    return max((_number(name, 1) for name in names), default=1)


def meet(
    card: Mapping[str, str],
    folder: Path,
    *,
    kind: Launcher | None = None,
    interface: str | None = None,
    timeout_s: float = MEET_TIMEOUT_S,
) -> TrainingRanks:
    """Exchange addresses and cards with all other ranks of this launch.

    Ranks that meet again, for a second model, keep their addresses: a process joins the others once.

    Parameters
    ----------
    card
        What this rank says of itself.
    folder
        A folder that all ranks share, where they leave files for each other (not under MPI).
    kind
        How this process was started; None asks the environment.
    interface
        Network interface, such as ``ib0``, by which ranks on several nodes reach each other; None takes the one of
        the default route.

    Raises
    ------
    ExecutorError
        If ranks do not come in time, or this is no such launch.
    """
    kind = kind or launcher()
    if kind == "alone":
        return TrainingRanks(0, 0, 1, (), (dict(card),))
    global _joined
    if _joined is not None:
        _joined = _met_again(_joined, card, folder, timeout_s)
        return _joined.ranks
    meeting: _Meeting
    if kind == "mpi":
        meeting = _Mpi()
    elif kind == "slurm":
        meeting = _Slurm()
    else:
        meeting = _TfConfig()
    own = {"host": socket.gethostname(), "address": meeting.address(interface), "card": dict(card)}
    found = meeting.exchange({**own, "launch": secrets.token_hex(8)}, folder, timeout_s)
    here = [k for k, one in enumerate(found) if one["host"] == own["host"]]
    addresses = tuple(str(one["address"]) for one in found) if len(found) > 1 else ()
    cards = tuple(one["card"] for one in found)
    ranks = TrainingRanks(meeting.rank, here.index(meeting.rank), len(here), addresses, cards)
    _joined = _Joined(ranks, found[0]["launch"], 1)
    return ranks


@dataclass(frozen=True)
class _Joined:
    """The launch that this process has joined: how often its ranks have met, and a word that only they know."""

    ranks: TrainingRanks
    launch: str
    meetings: int


_joined: _Joined | None = None


def _met_again(joined: _Joined, card: Mapping[str, str], folder: Path, timeout_s: float) -> _Joined:
    before, place = joined.ranks, folder / f"ranks-{joined.launch}-{joined.meetings}"
    cards = exchange_by_files(dict(card), place, before.rank, len(before.cards), timeout_s)
    return _Joined(replace(before, cards=tuple(cards)), joined.launch, joined.meetings + 1)


class _Meeting(Protocol):
    rank: int

    def address(self, interface: str | None) -> str: ...

    def exchange(self, own: dict[str, Any], folder: Path, timeout_s: float) -> list[dict[str, Any]]: ...


class _Mpi:
    def __init__(self) -> None:
        self._meeting = MpiMeeting()
        self.rank = self._meeting.place.rank
        self._one_node = self._meeting.place.ranks_here == self._meeting.place.ranks

    def address(self, interface: str | None) -> str:
        return free_address(interface, one_node=self._one_node)

    def exchange(self, own: dict[str, Any], folder: Path, timeout_s: float) -> list[dict[str, Any]]:
        # A rank that does not come is noticed by mpirun, which ends the others.
        return self._meeting.gather(own)


class _Slurm:
    def __init__(self) -> None:
        needed = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_JOB_ID", "SLURM_STEP_ID")
        missing = [name for name in needed if not os.environ.get(name)]
        if missing:
            raise ExecutorError(
                f"this process is no task of a Slurm job step ({missing[0]} is not set): start it by srun --ntasks=2 …"
            )
        self.rank, self._ranks = _number("SLURM_PROCID", 0), _number("SLURM_STEP_NUM_TASKS", 1)
        nodes = tasks_per_node(os.environ.get("SLURM_STEP_TASKS_PER_NODE", str(self._ranks)))
        self._one_node = len(nodes) == 1

    def address(self, interface: str | None) -> str:
        return free_address(interface, one_node=self._one_node)

    def exchange(self, own: dict[str, Any], folder: Path, timeout_s: float) -> list[dict[str, Any]]:
        step = f"{os.environ['SLURM_JOB_ID']}.{os.environ['SLURM_STEP_ID']}"
        launch = f"{step}-{os.environ.get('SLURM_RESTART_COUNT', '0')}"
        return exchange_by_files(own, folder / f"ranks-{launch}", self.rank, self._ranks, timeout_s)


class _TfConfig:
    """Addresses that the user, or whoever started the ranks, has given in TF_CONFIG."""

    def __init__(self) -> None:
        try:
            config = json.loads(os.environ["TF_CONFIG"])
            self._workers = [str(address) for address in config["cluster"]["worker"]]
            self.ranks = len(self._workers)
            self.rank = int(config["task"]["index"])
            if config["task"]["type"] != "worker" or not 0 <= self.rank < len(self._workers):
                raise ValueError(f"task {config['task']} is none of the {len(self._workers)} workers")
        except (KeyError, ValueError, TypeError) as error:
            raise ExecutorError(
                f"TF_CONFIG cannot be understood ({type(error).__name__}: {error}); it must name cluster.worker, a "
                "list of host:port, and task.type worker and task.index; or unset it"
            ) from error

    def address(self, interface: str | None) -> str:
        return self._workers[self.rank]

    def exchange(self, own: dict[str, Any], folder: Path, timeout_s: float) -> list[dict[str, Any]]:
        name = hashlib.sha256(repr(self._workers).encode()).hexdigest()[:12]
        return exchange_by_files(own, folder / f"ranks-{name}", self.rank, len(self._workers), timeout_s)


def free_address(interface: str | None, *, one_node: bool) -> str:
    """An address of this node, and a port that nobody uses at the moment.

    Raises
    ------
    ExecutorError
        If there is no such interface.
    """
    if one_node and interface is None:
        host = "127.0.0.1"
    else:
        from distributed.utils import get_ip, get_ip_interface

        try:
            host = get_ip_interface(interface) if interface else get_ip()
        except ValueError as error:
            raise ExecutorError(f"{error}; name another as executor.interface") from error
    with socket.socket() as probe:
        probe.bind((host, 0))
        return f"{host}:{probe.getsockname()[1]}"


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, "")
    return int(text) if re.fullmatch(r"\d+", text) else default
