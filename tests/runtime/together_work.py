"""What members do in tests of work that is done together; imported by their processes."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from hpc_mlsm.errors import PeerError, StructureError
from hpc_mlsm.runtime.member import Member


@dataclass(frozen=True)
class Part:
    id: str
    n: int
    folder: str = ""
    cost: float = 1.0
    units: int = 1


def parts(n: int, folder: Path | str = "") -> list[Part]:
    return [Part(f"part-{i}", i, str(folder)) for i in range(n)]


def place(part: Part, member: Member) -> tuple[int, int, int, int, str, int, str]:
    member.tell(f"hello from {member.rank}")
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return part.n, member.rank, member.size, os.getpid(), member.host, member.threads, threads


def swap(part: Part, member: Member) -> list[int]:
    first = member.gather(part.n)
    return [sum(first), *member.gather(part.n**2)]


def mark(part: Part, text: str = "") -> None:
    path = Path(part.folder) / f"member-{part.n}"
    path.with_suffix(".new").write_text(text or str(os.getpid()))
    path.with_suffix(".new").rename(path)


def linger(part: Part, member: Member) -> int:
    """Wait for ever, as in a call of native code that heeds nothing."""
    mark(part)
    member.gather(None)
    time.sleep(600)
    return part.n


def fail_with_a_peer(part: Part, member: Member) -> int:
    """The last member fails; the others notice at once, before anybody learns why."""
    member.gather(None)
    if part.n < member.size - 1:
        raise PeerError("somebody is gone")
    time.sleep(0.3)
    raise StructureError("no_atoms", "the last one has no atoms")


def die(part: Part, member: Member) -> int:
    """One member dies by a signal, and another a little before it, as if it had noticed."""
    member.gather(None)
    if part.n == 0:
        print("peer gone", file=sys.stderr, flush=True)
        os._exit(255)
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def freeze(part: Part, member: Member) -> int:
    member.gather(None)
    if part.n == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(600)
    return 0


def until_stopped(part: Part, member: Member) -> str:
    mark(part)
    while not member.stop_requested():
        time.sleep(0.05)
    mark(part, "stopped")
    return "stopped"


def swell(part: Part, member: Member) -> int:
    held = [bytes(50_000_000) for _ in range(40)]
    blocks = [bytearray(b"x" * 50_000_000) for _ in range(40)]
    time.sleep(5)
    return len(held) + len(blocks)
