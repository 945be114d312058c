"""How fast PDFs are simulated, and how far from those of the reference engines.

    python benchmarks/pdf.py [--cifs FOLDER] [--variants 100] [--reference-variants 3] [--json FILE]

Runs on the built-in starter set, or on all CIFs below a folder. Times are processor seconds on one thread, from the
sampling of variants to finished patterns, compilation left out. The reference engines are slow and so compute only
the first few variants of each structure; ``ratio`` is the geometric mean, over structures, of their time a pattern
over that of the native engine, ``ms_mean`` that of the times. ``deviation`` is the largest difference from the native
engine over the largest |G|. That of pdffit2 comes from its conventions: it divides by r instead of r_ij, and limits
the band of one half of an odd function. q_min is 0 throughout, because pdffit2 has none. A file for JSON gets a
second one beside it, by cell size.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from _table import report
from threadpoolctl import threadpool_limits

from hpc_mlsm.errors import ConfigError, StructureError
from hpc_mlsm.scattering.engines import Engine, get_engine, simulate_structure
from hpc_mlsm.scattering.settings import EngineName, PdfSettings
from hpc_mlsm.scattering.variants import sample_variants
from hpc_mlsm.structures.cif import read_cif
from hpc_mlsm.structures.starter import starter_set
from hpc_mlsm.structures.structure import Structure

REFERENCES: tuple[EngineName, ...] = ("pdffit2", "diffpy")
RECORDED_MS = (7.0, 220.0)
"""A pattern of diffpy.srreal 1.4 on one core, as recorded on another machine for structures like these."""


@dataclass
class Timing:
    """Milliseconds a pattern, and deviations from the native engine, structure by structure."""

    patterns: int = 0
    seconds: float = 0.0
    ms: dict[str, float] = field(default_factory=dict)
    deviations: list[float] = field(default_factory=list)

    def add(self, structure: Structure, seconds: float, patterns: int) -> None:
        """Count the patterns of one structure."""
        self.patterns += patterns
        self.seconds += seconds
        self.ms[structure.id] = 1e3 * seconds / patterns


def main() -> None:
    """Run, print two tables, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifs", type=Path, help="folder of CIFs instead of the starter set")
    parser.add_argument("--variants", type=int, default=100, help="patterns of a structure, besides its base")
    parser.add_argument("--reference-variants", type=int, default=3, help="of those, for reference engines; 0: none")
    parser.add_argument("--json", type=Path, help="file for the figures")
    asked = parser.parse_args()
    structures = list(starter_set()) if asked.cifs is None else structures_below(asked.cifs)
    settings = PdfSettings(variants=asked.variants, q_min=(0.0, 0.0))
    with threadpool_limits(1):
        native, references = measure(structures, settings, asked.reference_variants)
    title = f"{len(structures)} structures of {asked.cifs or 'the starter set'}"
    sizes = asked.json.with_name(f"{asked.json.stem}-by-size.json") if asked.json else None
    report(f"patterns by cell size, {title}", by_size(structures, native), sizes)
    report(f"engines, {title}", by_engine(native, references), asked.json)
    for name, timing in references.items():
        if isinstance(timing, str):
            print(f"{name}: {timing}")
    print(
        "recorded elsewhere: not measured in this run; the ratio is the lowest recorded time over the native mean here"
    )


def structures_below(folder: Path) -> list[Structure]:
    """The structures of all CIFs in a folder that can be used."""
    return [structure for path in sorted(folder.rglob("*.cif")) for structure in read_cif(path)[0]]


def measure(
    structures: list[Structure], settings: PdfSettings, n_reference: int
) -> tuple[Timing, dict[str, Timing | str]]:
    """Time all engines; for one that cannot be imported, the reason."""
    native, references, engines = Timing(), dict[str, Timing | str](), dict[str, Engine]()
    for name in REFERENCES if n_reference else ():
        try:
            engines[name], references[name] = get_engine(name), Timing()
        except ConfigError as error:
            references[name] = str(error)
    simulate_structure(structures[0], settings)
    for structure in structures:
        try:
            seconds = least_seconds(lambda: simulate_structure(structure, settings))  # noqa: B023
        except StructureError as error:
            print(f"left out: {error}")
            continue
        native.add(structure, seconds, settings.variants + 1)
        for name, engine in engines.items():
            timing = references[name]
            assert isinstance(timing, Timing)
            compare(structure, settings, n_reference, engine, timing)
    return native, references


def compare(structure: Structure, settings: PdfSettings, n: int, engine: Engine, timing: Timing) -> None:
    """Time a reference engine on the first variants of a structure, and compare what it gives."""
    variants = sample_variants(structure, settings)
    scales, conditions = variants.axis_scales[:n], variants.conditions.take(slice(0, n))
    begin = time.process_time()
    try:
        theirs = engine(structure, scales, conditions, settings.grid)
    except StructureError as error:
        print(f"left out: {error}")
        return
    timing.add(structure, time.process_time() - begin, len(scales))
    ours = get_engine("native")(structure, scales, conditions, settings.grid)
    timing.deviations += (np.abs(theirs - ours).max(axis=1) / np.abs(ours).max(axis=1)).tolist()


def least_seconds(work: Callable[[], Any]) -> float:
    """Least processor time of three runs."""
    times = []
    for _ in range(3):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return min(times)


def geometric_mean(values: list[float]) -> float:
    """The geometric mean."""
    return float(np.exp(np.mean(np.log(values))))


def by_size(structures: list[Structure], native: Timing) -> list[dict[str, Any]]:
    """Patterns a second of the native engine by atoms in the cell."""
    groups = defaultdict[int, list[float]](list)
    for structure in structures:
        if structure.id in native.ms:
            groups[int(np.log2(len(structure.unit_cell)))].append(native.ms[structure.id])
    return [
        {
            "atoms_in_cell": f"{2**power} to {2 ** (power + 1) - 1}",
            "structures": len(times),
            "patterns_per_s": round(1e3 / float(np.mean(times))),
            "slowest_ms": max(times),
        }
        for power, times in sorted(groups.items())
    ]


def by_engine(native: Timing, references: dict[str, Timing | str]) -> list[dict[str, Any]]:
    """One row an engine, and one for what was recorded elsewhere."""
    rows = [row("native", native, native)]
    for name, timing in references.items():
        rows.append(row(name, timing, native) if isinstance(timing, Timing) else {"engine": f"{name} (not installed)"})
    mean = geometric_mean(list(native.ms.values()))
    rows.append(
        {
            "engine": "diffpy (recorded elsewhere)",
            "ms_mean": f"{RECORDED_MS[0]:g} to {RECORDED_MS[1]:g}",
            "ratio": f"> {RECORDED_MS[0] / mean:.0f}",
        }
    )
    return rows


def row(name: str, timing: Timing, native: Timing) -> dict[str, Any]:
    """Speed, ratio and deviations of one engine."""
    return {
        "engine": name,
        "patterns": timing.patterns,
        "patterns_per_s": timing.patterns / timing.seconds,
        "ms_mean": geometric_mean(list(timing.ms.values())),
        "ratio": geometric_mean([timing.ms[key] / native.ms[key] for key in timing.ms]),
        "deviation_median": float(np.median(timing.deviations)) if timing.deviations else None,
        "deviation_largest": max(timing.deviations, default=None),
    }


if __name__ == "__main__":
    main()
