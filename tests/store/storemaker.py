"""Shards whose every number follows from the structure's id and the variant, so that tests can tell what belongs."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.store.schema import Axis, ShardContent, ShardRecord, shard_name
from hpc_mlsm.store.shard import write_shard

R = np.linspace(0.0, 30.0, 301)
CONFIG = "config-1"

COUNTS = {"Zn": 4, "Al2O3": 9, "Ca": 0, "Fe": 1, "Ni": 12, "Bi2Fe4O9": 3, "Ag": 5, "W5O14-β": 2}
"""Variants of each structure in the ``store`` fixture."""

WANTED = [(identifier, "hash") for identifier in COUNTS]


def curve(identifier: str, variant: int) -> NDArray[np.float32]:
    """A damped sum of sines, like a PDF; variant -1 is the base pattern."""
    seed = int.from_bytes(hashlib.sha256(f"{identifier}/{variant}".encode()).digest()[:8], "little")
    q, phase = np.random.default_rng(seed).uniform(0.5, 25.0, (2, 8, 1))
    return (np.exp(-0.002 * R**2) * np.sin(q * R + phase).sum(axis=0)).astype(np.float32)


def u_iso(identifier: str, variant: int) -> float:
    return len(identifier) + variant / 1000.0


def make_content(
    structures: Sequence[tuple[str, int]], config: str = CONFIG, content_hash: str = "hash"
) -> ShardContent:
    """A shard with these structures, (id, number of variants) each."""
    ids = [identifier for identifier, _ in structures]
    counts = [count for _, count in structures]
    rows = [(identifier, variant) for identifier, count in structures for variant in range(count)]
    return ShardContent(
        kind="pdf",
        axis=Axis("r", "angstrom", R),
        signal="G",
        signal_unit="1/angstrom^2",
        structure_ids=tuple(ids),
        content_hashes=(content_hash,) * len(ids),
        base=np.array([curve(identifier, -1) for identifier in ids]),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        patterns=np.array([curve(*row) for row in rows], dtype=np.float32).reshape(len(rows), len(R)),
        parameters={
            "u_iso": ("angstrom^2", np.array([u_iso(*row) for row in rows])),
            "diameter": ("angstrom", np.full(len(rows), np.nan)),
        },
        variants=np.array([variant for _, variant in rows], dtype=np.int64),
        config_hash=config,
        engine="native",
        code_version="0.1.0",
    )


def add_shard(store: PatternStore, content: ShardContent) -> ShardRecord:
    """Write and record a shard under the name that suits it."""
    pairs = list(zip(content.structure_ids, content.content_hashes, strict=True))
    record = write_shard(store.folder, shard_name(content.config_hash, pairs), content)
    store.record(record)
    return record


def rows_by_structure(store: PatternStore, max_rows: int = 7) -> dict[str, list[int]]:
    """Which variants of which structure a store gives; fails if any row is not what that variant must be."""
    ids, found = store.ids(), {}
    for batch in store.iter_batches(max_rows, ids):
        assert len(batch.patterns) <= max_rows
        for index, variant, pattern, u in zip(
            batch.structure_index, batch.variant, batch.patterns, batch.parameters["u_iso"], strict=True
        ):
            identifier = ids[index]
            assert pattern.tobytes() == curve(identifier, int(variant)).tobytes()
            assert u == u_iso(identifier, int(variant))
            found.setdefault(identifier, []).append(int(variant))
    return found


def start_python(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Run a script in another process, with this module and the package in reach."""
    here = Path(__file__).resolve()
    path = os.pathsep.join([str(here.parents[2]), str(here.parent)])
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
