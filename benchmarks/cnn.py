"""How fast networks are trained, by one process and by two, and what they cost.

    python benchmarks/cnn.py [--points 4501] [--batch 64] [--steps 6] [--threads 1] [--ranks 1 2] [--no-paper]
                             [--json FILE]
    python benchmarks/cnn.py --memory 2000 16000 [--points 1001]      # peak memory for numbers of patterns

Patterns are read from a pattern store on the disk, as in a run. ``examples_per_s`` are patterns of all processes
together, in the epochs after the first, in which the network is compiled; ``waiting`` is the share of that time for
which rank 0 waited for its input. ``gflop`` is that of a training step, per pattern; ``gflop_per_s`` what follows for
the machine; ``epoch_283006_h`` what an epoch of the published set would take at that speed; ``peak_mb`` the most memory
that a process of the training had.

Each rank is kept to ``--threads`` cores of its own, so that two ranks have twice those of one.
"""

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from _table import report

from hpc_mlsm.models.cnn_cost import network_cost
from hpc_mlsm.models.cnn_settings import CnnSettings
from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.store.schema import Axis, ShardContent, shard_name
from hpc_mlsm.store.shard import write_shard

CLASSES = 7
PUBLISHED = 283_006
SHARD = 256
EPOCHS = 3


def main() -> None:
    """Train both networks on one and two ranks, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=4501, help="points of a pattern")
    parser.add_argument("--batch", type=int, default=64, help="patterns of a step, of all ranks together")
    parser.add_argument("--steps", type=int, default=6, help="steps of an epoch")
    parser.add_argument("--threads", type=int, default=1, help="of each rank")
    parser.add_argument("--no-paper", action="store_true", help="leave the published network out")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--memory", type=int, nargs="+", help="train cnn on so many patterns, each in one process")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--as-rank", type=json.loads, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.as_rank:
        run_rank(**asked.as_rank)
        return
    if asked.memory:
        with tempfile.TemporaryDirectory() as scratch:
            rows = [memory_row(Path(scratch) / str(n), n, asked) for n in asked.memory]
        report(f"memory of training cnn on {asked.points} points, batches of {asked.batch}", rows, asked.json)
        return
    with tempfile.TemporaryDirectory() as scratch:
        make_store(Path(scratch) / "patterns", asked.batch * asked.steps, asked.points)
        networks = ["residual"] if asked.no_paper else ["residual", "paper"]
        rows = [row(Path(scratch), network, ranks, asked) for network in networks for ranks in asked.ranks]
    report(f"training on {asked.points} points, batches of {asked.batch}", rows, asked.json)


def settings_of(network: str, asked: argparse.Namespace) -> CnnSettings:
    """The network as it is configured, for a few epochs; every pattern once an epoch."""
    few: dict[str, Any] = {"epochs": EPOCHS, "batch": asked.batch, "oversample": False, "threads": asked.threads}
    return CnnSettings.paper(**few) if network == "paper" else CnnSettings(**few)


def row(scratch: Path, network: str, ranks: int, asked: argparse.Namespace) -> dict[str, Any]:
    """One line of the table."""
    settings = settings_of(network, asked)
    folder = scratch / f"{network}-{ranks}"
    train(folder, scratch / "patterns", settings, ranks)
    history = json.loads((folder / "history.json").read_text())[1:]
    seconds = sum(record["seconds"] for record in history)
    speed = sum(record["rows"] for record in history) / seconds
    cost = network_cost(settings, asked.points, CLASSES)
    return {
        "network": {"paper": "cnn-paper", "residual": "cnn"}[network],
        "ranks": ranks,
        "threads": asked.threads,
        "parameters": cost.parameters,
        "gflop": cost.training_flop / 1e9,
        "examples_per_s": speed,
        "waiting": sum(record["waiting"] * record["seconds"] for record in history) / seconds,
        "gflop_per_s": speed * cost.training_flop / 1e9,
        "epoch_283006_h": PUBLISHED / speed / 3600,
        "peak_mb": peak_mb(folder),
    }


def memory_row(scratch: Path, n: int, asked: argparse.Namespace) -> dict[str, Any]:
    """Peak memory of one process that trains on n patterns."""
    scratch.mkdir()
    make_store(scratch / "patterns", n, asked.points)
    train(scratch / "run", scratch / "patterns", settings_of("residual", asked), 1)
    held = n * asked.points * 4 / 1e6
    return {"patterns": n, "patterns_in_memory_mb": held, "peak_mb": peak_mb(scratch / "run")}


def peak_mb(folder: Path) -> float:
    """The most memory that a rank had."""
    return max(float(path.read_text()) for path in folder.glob("peak-*"))


def train(folder: Path, store: Path, settings: CnnSettings, ranks: int) -> None:
    """Train in processes of their own."""
    folder.mkdir()
    described = {"folder": str(folder), "store": str(store), "settings": asdict(settings)}
    ports = free_ports(ranks)
    processes = []
    for rank in range(ranks):
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        if ranks > 1:
            workers = [f"127.0.0.1:{port}" for port in ports]
            config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": rank}}
            environment["TF_CONFIG"] = json.dumps(config)
        command = [sys.executable, __file__, "--as-rank", json.dumps(described)]
        processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    for process in processes:
        _, said = process.communicate()
        if process.returncode:
            sys.exit(said)


def run_rank(folder: str, store: str, settings: dict[str, Any]) -> None:
    """What each process does."""
    from hpc_mlsm.runtime.training_ranks import own_rank
    from hpc_mlsm.stages.cnn_ranks import train_on_ranks
    from hpc_mlsm.stages.store_rows import StoreRows

    cores = sorted(os.sched_getaffinity(0))
    first = own_rank() * settings["threads"]
    os.sched_setaffinity(0, cores[first : first + settings["threads"]] or cores)
    own = CnnSettings(**settings | {name: tuple(settings[name]) for name in ("widths", "heads")})
    with PatternStore.open(Path(store), "r") as opened:
        labels = np.array([int(key[1:]) % CLASSES for key in opened.ids()])
        few = np.array([int(key[1:]) < CLASSES for key in opened.ids()])
        rows = [StoreRows(opened, {"class": labels}, chosen, own.scale) for chosen in (np.ones_like(few), few)]
    train_on_ranks(rows[0], rows[1], CLASSES, own, Path(folder), "benchmark")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    (Path(folder) / f"peak-{own_rank()}").write_text(str(peak))


def make_store(folder: Path, n: int, points: int) -> None:
    """Patterns with twenty peaks each, as compressible as simulated ones are."""
    axis = Axis("two_theta", "degree", np.linspace(0, 90, points))
    rng = np.random.default_rng(0)
    with PatternStore.open(folder, "a") as store:
        for start in range(0, n, SHARD):
            ids = [f"s{k:07d}" for k in range(start, min(n, start + SHARD))]
            places, heights = rng.uniform(5, 90, (len(ids), 20, 1)), rng.uniform(10, 1000, (len(ids), 20, 1))
            # Row by row, so that no more than one pattern is spread out over its peaks.
            curves = [
                (h / (1 + ((axis.values - p) / 0.05) ** 2) ** 2).sum(axis=0)
                for p, h in zip(places, heights, strict=True)
            ]
            content = ShardContent(
                kind="powder",
                axis=axis,
                signal="intensity",
                signal_unit="",
                structure_ids=tuple(ids),
                content_hashes=("hash",) * len(ids),
                base=np.array(curves, dtype=np.float32),
                offsets=np.arange(len(ids) + 1, dtype=np.int64),
                patterns=np.array(curves, dtype=np.float32),
                parameters={},
                variants=np.zeros(len(ids), dtype=np.int64),
                config_hash="benchmark",
                engine="native",
                code_version="0",
            )
            pairs = [(key, "hash") for key in ids]
            store.record(write_shard(folder, shard_name("benchmark", pairs), content))


def free_ports(n: int) -> list[int]:
    """Ports of this machine that nobody uses at the moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


if __name__ == "__main__":
    main()
