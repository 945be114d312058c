"""Tasks of some numbers, and what tests of workers do with them."""

import ctypes
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Batch:
    """Some numbers; ``poison`` are those that end the worker."""

    id: str
    numbers: tuple[int, ...]
    poison: tuple[int, ...] = ()
    how: str = "kill"
    folder: str = ""
    cost: float = 1.0

    @property
    def units(self) -> int:
        return len(self.numbers)

    def split(self) -> list["Batch"]:
        half = len(self.numbers) // 2
        halves = (self.numbers[:half], self.numbers[half:])
        return [replace(self, id=f"{self.id}.{i}", numbers=numbers) for i, numbers in enumerate(halves) if numbers]


def batches(n: int, poison: tuple[int, ...] = (), how: str = "kill", folder: str = "") -> list[Batch]:
    return [Batch(f"batch-{i}", (i,), poison, how, folder) for i in range(n)]


def total(task: Batch) -> int:
    for number in task.numbers:
        if number in task.poison:
            DEATHS[task.how]()
        time.sleep(0.01)
    return sum(task.numbers)


def die_once(task: Batch) -> int:
    marker = Path(task.folder) / task.id
    if set(task.numbers) & set(task.poison) and not marker.exists():
        marker.touch()
        DEATHS[task.how]()
    return sum(task.numbers)


def count_runs(task: Batch) -> int:
    with (Path(task.folder) / f"runs-of-{task.id}").open("a") as file:
        file.write("run\n")
    return total(task)


def environment(task: Batch) -> dict[str, str]:
    return dict(os.environ)


def blas_threads(task: Batch) -> int:
    import numpy as np
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    return max(library["num_threads"] for library in threadpool_info())


def interrupt_own_process(task: Batch) -> int:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.05)
    return os.getpid()


def eat_memory(task: Batch) -> int:
    hoard = []
    while True:
        hoard.append(bytearray(20 * 10**6))
        hoard[-1][::4096] = b"x" * len(hoard[-1][::4096])
        time.sleep(0.02)


def sleep_long(task: Batch) -> int:
    if task.id != "batch-0":
        time.sleep(1000)
    return 0


def stop_own_process(task: Batch) -> int:
    if task.id != "batch-0":
        time.sleep(0.5)  # for the answer of the task before to leave this process
        os.kill(os.getpid(), signal.SIGSTOP)
    return 0


def own_pid(task: Batch) -> int:
    return os.getpid()


def say(*words: str) -> None:
    """Write a line in one go: several processes write to the same pipe."""
    os.write(1, f"{' '.join(words)}\n".encode())


def nap(task: Batch) -> int:
    say("running", task.id)
    time.sleep(float(task.folder))
    return 0


DEATHS: dict[str, Callable[[], object]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: ctypes.string_at(0),
    "exit": lambda: os._exit(0),
}
