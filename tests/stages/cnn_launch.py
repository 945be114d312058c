"""Starts the ranks of ``cnn_driver.py`` alone or in twos, and sees what becomes of them."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DRIVER = Path(__file__).with_name("cnn_driver.py")
PATIENCE_S = 300.0
"""For ranks to load TensorFlow, on a busy machine."""


@dataclass
class Ended:
    """Exit status and standard error of a process."""

    status: int
    said: str


@dataclass
class CnnLaunch:
    """A folder in which ranks train, and the processes that were started for it."""

    folder: Path
    processes: list["subprocess.Popen[str]"] = field(default_factory=list)

    def start_alone(self, settings: dict[str, object], case: str = "") -> None:
        self._start(settings, case, {})

    def start_two(self, settings: dict[str, object], cases: Sequence[str] = ("", "")) -> None:
        """Two processes that find each other by TF_CONFIG."""
        workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
        for rank, case in enumerate(cases):
            config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": rank}}
            self._start(settings, case, {"TF_CONFIG": json.dumps(config)})

    def _start(self, settings: dict[str, object], case: str, environment: dict[str, str]) -> None:
        self.folder.mkdir(exist_ok=True)
        clean = {key: value for key, value in os.environ.items() if key != "TF_CONFIG"}
        self.processes.append(
            subprocess.Popen(
                [sys.executable, str(DRIVER), str(self.folder), json.dumps(settings), case],
                env={**clean, **environment, "PYTHONPATH": str(DRIVER.parents[2]), "TF_CPP_MIN_LOG_LEVEL": "3"},
                stderr=subprocess.PIPE,
                text=True,
            )
        )

    def ended(self, patience_s: float = PATIENCE_S) -> list[Ended]:
        """Wait for all processes; kills those that do not end, and fails then."""
        deadline = time.monotonic() + patience_s
        found = []
        try:
            for process in self.processes:
                _, said = process.communicate(timeout=max(0.1, deadline - time.monotonic()))
                found.append(Ended(process.returncode, said))
        finally:
            self.kill()
        self.processes = []
        return found

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    def await_epochs(self, n: int) -> None:
        """Wait until so many epochs are finished."""
        deadline = time.monotonic() + PATIENCE_S
        while len(self.epochs) < n:
            running = [process for process in self.processes if process.poll() is None]
            assert running, [ended.said for ended in self.ended()]
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def pid(self, rank: int) -> int:
        return int((self.folder / f"pid-{rank}").read_text())

    @property
    def epochs(self) -> list[int]:
        """Numbers of the epochs that were finished, in the order in which they were, over all starts."""
        path = self.folder / "epochs.jsonl"
        return [json.loads(line)["epoch"] for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def losses(self) -> list[float]:
        """Validation losses, by epoch."""
        history = json.loads((self.folder / "training" / "history.json").read_text())
        return [record["validation_loss"] for record in history]

    def result(self) -> dict[str, NDArray]:
        """What rank 0 left."""
        with np.load(self.folder / "result.npz") as arrays:
            return dict(arrays)


def free_ports(n: int) -> list[int]:
    sockets = [socket.socket() for _ in range(n)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
