"""The catalogue: CIFs read a second, synthetic structures made a second, queries and duplicates at 500 000 rows.

    python benchmarks/catalogue.py --cifs FOLDER [--copies 20] [--made 25000] [--rows 500000] [--json FILE]

CIFs are copied with distinct content, so that none is recognised. Rates are for one core (process time) unless said
otherwise. The projection assumes cores that read as fast as this one, 64 a node, and one process that writes.
"""

import argparse
import itertools
import os
import sqlite3
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from _table import report

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.catalog.duplicates import find_duplicates
from hpc_mlsm.catalog.history import close_revision
from hpc_mlsm.catalog.ingest import PARSER_VERSION, parse_files, plan_ingest, scan_folder, store_result
from hpc_mlsm.catalog.parsed import ParsedContents
from hpc_mlsm.catalog.select import select_keys
from hpc_mlsm.catalog.selection import Selection
from hpc_mlsm.catalog.synthetic import make_synthetic, synthetic_tasks
from hpc_mlsm.structures.substituted import SubstitutedSettings

CORES_A_NODE = 64
COD_ENTRIES = 530_000
METALS = frozenset({"transition_metals", "post_transition_metals", "lanthanides", "actinides"})
MLSM = Selection(one_of=(METALS, frozenset("OHS")), allowed=METALS | frozenset("OHS"))
CRYSTALMELA = Selection(min_axis=2.5, max_axis=40.0, max_r_factor=0.1)

QUERIES = {
    "one id": "SELECT * FROM structures WHERE id = 'synthetic/substituted-0-0004711'",
    "formula": "SELECT id FROM structures WHERE formula = 'NiO'",
    "space group, count": "SELECT count(*) FROM structures WHERE space_group = 225",
    "two elements, 20 rows": (
        "SELECT id FROM structures WHERE key IN (SELECT structure FROM structure_elements WHERE element = 'Fe') "
        "AND EXISTS (SELECT 1 FROM structure_elements WHERE element = 'O' AND structure = key) LIMIT 20"
    ),
    "two elements, count": (
        "SELECT count(*) FROM structure_elements a JOIN structure_elements b USING (structure) "
        "WHERE a.element = 'Fe' AND b.element = 'Co'"
    ),
    "element and space group, all rows": (
        "SELECT id FROM structures WHERE space_group = 227 AND "
        "key IN (SELECT structure FROM structure_elements WHERE element = 'Fe')"
    ),
    "cell window": "SELECT id FROM structures WHERE formula = 'NiO' AND volume BETWEEN 60 AND 80",
    "cells of few atoms, 20 rows": "SELECT id FROM structures WHERE n_atoms <= 4 AND density > 10 LIMIT 20",
}


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Wall and process seconds, and the result."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def copies(folder: Path, target: Path, count: int) -> int:
    """Write each CIF so many times, each time with other content; returns how many there are."""
    files = sorted(folder.rglob("*.cif"))
    then = time.time() - 1000
    for number, path in itertools.product(range(count), files):
        copy = target / f"{number:03d}" / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes() + f"\n# copy {number}\n".encode())
        os.utime(copy, (then, then))
    return count * len(files)


def reading(folder: Path, count: int, work: Path) -> Iterator[dict[str, Any]]:
    """Rates of ingest in one process, and of the peer's parser."""
    cifs = work / "cifs"
    n = copies(folder, cifs, count)
    path = work / "read.sqlite"
    parse_s = store_s = 0.0
    with Catalogue(path) as catalogue, ParsedContents(path, PARSER_VERSION) as parsed:
        wall, scan_s, files = timed(lambda: scan_folder(cifs))
        for task in plan_ingest(files, {}):
            _, seconds, result = timed(lambda task=task: parse_files(task))
            parse_s += seconds
            _, seconds, _ = timed(lambda result=result: store_result(catalogue, result, parsed))
            store_s += seconds
        yield row("scan of the folder", n, scan_s, wall)
        yield row("parse (worker)", n, parse_s)
        yield row("store (writer)", n, store_s)
        yield row("parse and store, one core", n, parse_s + store_s)
        files_s = timed(lambda: plan_ingest(scan_folder(cifs), catalogue.files()))[1]
        yield row("second ingest, nothing changed", n, files_s)
        cifs.rename(work / "moved")
        digests = parsed.write_digests(work / "known")
        known_s = sum(
            timed(lambda t=t: parse_files(t))[1] for t in plan_ingest(scan_folder(work / "moved"), {}, digests)
        )
        yield row("renamed files, recognised", n, known_s)
    yield peer(sorted(folder.rglob("*.cif")))


def peer(files: list[Path]) -> dict[str, Any]:
    """How fast pymatgen reads the same files, and how many it cannot."""
    from pymatgen.io.cif import CifParser

    failed = 0

    def all_of_them() -> None:
        nonlocal failed
        for path in files:
            try:
                CifParser(str(path)).parse_structures(primitive=False)
            except (ValueError, ArithmeticError, LookupError, AttributeError, TypeError, AssertionError):
                failed += 1

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seconds = timed(all_of_them)[1]
    return row("pymatgen CifParser (peer)", len(files), seconds) | {"note": f"{failed} not read"}


def row(what: str, n: int, cpu_s: float, wall_s: float | None = None) -> dict[str, Any]:
    """A line of the table of rates."""
    line: dict[str, Any] = {"what": what, "n": n, "cpu_s": cpu_s, "per_s": n / max(cpu_s, 1e-9)}
    return line | ({"wall_s": wall_s} if wall_s is not None else {})


def multiplied(path: Path, times: int) -> None:
    """Fill a catalogue up with copies of its structures under other ids, each a little larger than the last."""
    with closing(sqlite3.connect(path)) as database:
        names = [row[1] for row in database.execute("PRAGMA table_info(structures)")]
        indices = list(database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"))
        for name, _ in indices:
            database.execute(f"DROP INDEX {name}")
        (count,) = database.execute("SELECT max(key) FROM structures").fetchone()
        for copy in range(1, times):
            shift, scale = copy * count, 1.0 + 0.004 * copy
            changed = {"key": f"key + {shift}", "id": f"id || '-{copy}'", "content_hash": f"content_hash || '-{copy}'"}
            changed |= {edge: f"{edge} * {scale}" for edge in "abc"}
            changed |= {"volume": f"volume * {scale**3}", "density": f"density / {scale**3}"}
            values = ", ".join(changed.get(name, name) for name in names)
            database.execute(f"INSERT INTO structures SELECT {values} FROM structures WHERE key <= {count}")
            database.execute(
                f"INSERT INTO atoms SELECT structure + {shift}, sites FROM atoms WHERE structure <= {count}"
            )
            database.execute(
                f"INSERT INTO structure_elements SELECT element, structure + {shift} FROM structure_elements "
                f"WHERE structure <= {count}"
            )
        for _, sql in indices:
            database.execute(sql)
        database.commit()


def large(made: int, rows: int, work: Path) -> Iterator[dict[str, Any]]:
    """Rates of making and storing synthetic structures, then queries, selections and duplicates."""
    path = work / "large.sqlite"
    made_s = store_s = 0.0
    with Catalogue(path) as catalogue:
        for task in synthetic_tasks(SubstitutedSettings(count=made)):
            _, seconds, result = timed(lambda task=task: make_synthetic(task))
            made_s += seconds
            _, seconds, _ = timed(lambda result=result: store_result(catalogue, result))
            store_s += seconds
        yield row("synthetic structures made", made, made_s)
        yield row("synthetic structures stored", made, store_s)
    multiplied(path, max(1, rows // made))
    with Catalogue(path) as catalogue:
        wall, cpu, _ = timed(lambda: close_revision(catalogue, "benchmark"))
        yield row("first revision closed", rows, cpu, wall)
        wall, cpu, _ = timed(lambda: close_revision(catalogue, "benchmark"))
        yield row("revision without changes", rows, cpu, wall)
    yield {"what": "catalogue on disk", "n": rows, "note": f"{path.stat().st_size / 1e6:.0f} MB"}
    with Catalogue(path, read_only=True) as catalogue:
        for name, sql in QUERIES.items():
            runs = [timed(lambda sql=sql: catalogue.select(sql, 0)) for _ in range(7)]
            wall, cpu = (1000 * statistics.median(run[place] for run in runs) for place in (0, 1))
            yield {"what": f"query: {name}", "n": rows, "wall_ms": wall, "cpu_ms": cpu}
        for name, selection in (("mlsm-paper", MLSM), ("crystalmela-paper", CRYSTALMELA)):
            wall, cpu, found = timed(lambda selection=selection: select_keys(catalogue, selection))
            yield row(f"select {name}", rows, cpu, wall) | {"note": f"{len(found.ids)} chosen"}
        wall, cpu, groups = timed(lambda: find_duplicates(catalogue))
        yield row("duplicates", rows, cpu, wall) | {"note": f"{len(groups)} groups"}


def projection(rates: dict[str, float]) -> Iterator[dict[str, Any]]:
    """All of COD on 10 and 1000 nodes: readers work side by side, one process writes what they send."""
    read, write = rates["parse (worker)"], rates["store (writer)"]
    for nodes in (1, 10, 1000):
        reading_s = COD_ENTRIES / (read * nodes * CORES_A_NODE)
        writing_s = COD_ENTRIES / write
        bound = "writer" if writing_s > reading_s else "readers"
        seconds = max(reading_s, writing_s)
        note = f"reading {reading_s:.0f} s, writing {writing_s:.0f} s: bound by {bound}"
        yield {"what": f"all of COD, {nodes} nodes", "n": COD_ENTRIES, "wall_s": seconds, "note": note}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifs", type=Path, help="folder of CIFs to copy")
    parser.add_argument("--copies", type=int, default=20)
    parser.add_argument("--made", type=int, default=25_000, help="synthetic structures to make; copied up to --rows")
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        if options.cifs:
            rows += reading(options.cifs, options.copies, Path(folder))
            rows += projection({line["what"]: line["per_s"] for line in rows})
        if options.rows:
            rows += large(min(options.made, options.rows), options.rows, Path(folder))
    report("catalogue", rows, options.json)


if __name__ == "__main__":
    main()
