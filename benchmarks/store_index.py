"""How fast a store of many shards opens and answers.

    python benchmarks/store_index.py [--shards 10000] [--structures 53] [--json FILE]

The index is a real one; the shards are sparse files of the recorded sizes, of which nothing is read.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _table import report

from hpc_mlsm.store.index import INDEX_NAME, Index
from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.store.schema import ShardRecord, StructureRows

ROWS = 100
SIZE = 5_500_000
CONFIG = "configuration"


def main() -> None:
    """Make a store, ask it, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--structures", type=int, default=53, help="structures of a shard")
    parser.add_argument("--json", type=Path, help="file for the figures")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [timed("recording, a shard", lambda: fill(folder, asked.shards, asked.structures), asked.shards)]
        wanted = [(identity(k), "content") for k in range(asked.shards * asked.structures)]
        wanted[:: len(wanted) // 100] = [(f"new-{k}", "content") for k in range(len(wanted[:: len(wanted) // 100]))]
        rows.append(timed("opening to read", lambda: PatternStore.open(folder, "r").close()))
        rows.append(timed("opening to change", lambda: PatternStore.open(folder, "a").close()))
        with PatternStore.open(folder, "a") as store:
            for what, ask in {
                "counting structures and patterns": lambda: (store.n_structures, store.n_rows),
                "digests of all structures": store.digests,
                "which are missing": lambda: store.missing(wanted, CONFIG),
                "fingerprint": store.fingerprint,
                "sizes of all shards": lambda: store.verify(full=False),
                "looking for unrecorded shards": lambda: store.adopt(CONFIG),
                "dropping 1 % of the structures": lambda: store.drop(wanted, CONFIG),
                "looking for shards to compact": lambda: store.compact(0.25),
            }.items():
                rows.append(timed(what, ask))
    report(f"store of {asked.shards} shards, {asked.shards * asked.structures} structures", rows, asked.json)


def identity(number: int) -> str:
    """Id of a structure."""
    return f"structure-{number:08d}"


def fill(folder: Path, shards: int, structures: int) -> None:
    """Record all shards, and make files of their sizes."""
    with Index(folder / INDEX_NAME, "a") as index:
        for shard in range(shards):
            name = f"shard-{shard:020x}.h5"
            rows = tuple(
                StructureRows(identity(shard * structures + k), "content", k * ROWS, ROWS, k, f"{shard:016x}{k:016x}")
                for k in range(structures)
            )
            index.record(ShardRecord(name, CONFIG, structures * ROWS, structures, SIZE, f"{shard:032x}", rows))
            with (folder / name).open("wb") as stream:
                os.truncate(stream.fileno(), SIZE)


def timed(what: str, work: Callable[[], Any], share: int = 1) -> dict[str, Any]:
    """A row of the table."""
    start = time.perf_counter()
    work()
    return {"what": what, "time_s": (time.perf_counter() - start) / share}


if __name__ == "__main__":
    main()
