"""How fast powder patterns are simulated, where the time goes, and how far from XRDCalculator's.

    python benchmarks/powder.py [--cifs FOLDER] [--variants 100] [--pymatgen-every 1] [--json FILE]

Runs on the built-in starter set, or on all CIFs below a folder. Times are processor seconds on one thread from the
structure to finished profiles of 4501 points (Cu Kα1, Pearson VII, 2θ up to 90°), compilation left out. ``alone`` is
one pattern of a structure, cell expanded before, as for pymatgen; ``batch`` is one of many variants with strain and
widths of their own; ``realistic`` adds Kα2, texture, background and noise. ``ratio`` is the geometric mean, over
structures, of pymatgen's time for peak positions and intensities alone over that for the whole profile here. A file for
JSON gets others beside it, by cell size and by step.
"""

import argparse
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import gemmi
import numba
import numpy as np
from _table import report
from pdf import geometric_mean, least_seconds, structures_below
from threadpoolctl import threadpool_limits

from hpc_mlsm.config.load import load_config
from hpc_mlsm.errors import StructureError
from hpc_mlsm.scattering.engines import simulate_structure
from hpc_mlsm.scattering.powder.conditions import PowderConditions
from hpc_mlsm.scattering.powder.engine import lines_of
from hpc_mlsm.scattering.powder.profile import TAIL, add_peak, powder_profile
from hpc_mlsm.scattering.powder.reflections import inverse_squares, list_reflections
from hpc_mlsm.scattering.powder.scatterers import scatterers
from hpc_mlsm.scattering.powder.settings import PowderSettings
from hpc_mlsm.scattering.powder.structure_factors import squared_structure_factors
from hpc_mlsm.scattering.powder.variants import base_powder_variant
from hpc_mlsm.structures.starter import starter_set
from hpc_mlsm.structures.structure import Structure

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "run"
WAYS = ("alone", "batch", "realistic")


def main() -> None:
    """Run, print the tables, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifs", type=Path, help="folder of CIFs instead of the starter set")
    parser.add_argument("--variants", type=int, default=100, help="patterns of a structure in a batch")
    parser.add_argument("--pymatgen-every", type=int, default=1, help="time pymatgen on every n-th structure; 0: never")
    parser.add_argument("--json", type=Path, help="file for the figures")
    asked = parser.parse_args()
    structures = list(starter_set()) if asked.cifs is None else structures_below(asked.cifs)
    with threadpool_limits(1):
        seconds = measure(structures, asked.variants)
        theirs = {one.id: pymatgen_seconds(one) for one in structures[:: asked.pymatgen_every or len(structures)]}
        steps = by_step([one for one in structures if one.id in seconds])
    if not asked.pymatgen_every:
        theirs = {}
    title = f"{len(seconds)} structures of {asked.cifs or 'the starter set'}"
    beside = asked.json.with_name if asked.json else lambda name: None
    stem = asked.json.stem if asked.json else ""
    report(f"powder patterns by cell size, {title}", by_size(structures, seconds), beside(f"{stem}-by-size.json"))
    report(f"where the time goes, {title}", steps, beside(f"{stem}-by-step.json"))
    report(f"against pymatgen, {title}", by_way(seconds, theirs), asked.json)


def settings_of(variants: int) -> dict[str, PowderSettings]:
    """What is simulated each way."""
    paper = load_config(CONFIGS / "powder-paper.yaml").simulate
    realistic = load_config(CONFIGS / "powder-realistic.yaml").simulate
    assert isinstance(paper, PowderSettings)
    assert isinstance(realistic, PowderSettings)
    varied = replace(paper, variants=variants, strain=0.01, caglioti_w=(0.005, 0.02))
    return {"alone": paper, "batch": varied, "realistic": replace(realistic, variants=variants)}


def measure(structures: list[Structure], variants: int) -> dict[str, dict[str, float]]:
    """Seconds a pattern of each structure, each way."""
    ways = settings_of(variants)
    for settings in ways.values():
        simulate_structure(structures[0], settings)
    found = {}
    for structure in structures:
        try:
            found[structure.id] = {
                "alone": least_seconds(lambda: one_pattern(structure, ways["alone"])),  # noqa: B023
                **{
                    way: least_seconds(lambda: simulate_structure(structure, ways[way])) / (variants + 1)  # noqa: B023
                    for way in WAYS[1:]
                },
            }
        except StructureError as error:
            print(f"left out: {error}")
    return found


def one_pattern(structure: Structure, settings: PowderSettings) -> np.ndarray:
    """One undisturbed profile, from a structure whose cell is expanded."""
    lines = lines_of(structure, settings, np.ones((1, 3)))
    return powder_profile(
        lines, np.ones((1, 3)), base_powder_variant(settings).conditions, settings.radiation, settings.grid
    )


def pymatgen_seconds(structure: Structure) -> float:
    """Processor time of XRDCalculator.get_pattern, without making its structure."""
    from pymatgen.analysis.diffraction.xrd import XRDCalculator
    from pymatgen.core import Lattice
    from pymatgen.core import Structure as PymatgenStructure

    atoms = structure.unit_cell
    species = [
        {gemmi.Element(int(number)).name: float(occupancy)}
        for number, occupancy in zip(atoms.numbers, atoms.occupancy, strict=True)
    ]
    other = PymatgenStructure(Lattice.from_parameters(*structure.cell.parameters), species, atoms.fractional)
    calculator = XRDCalculator(1.54056)
    begin = time.process_time()
    calculator.get_pattern(other, two_theta_range=(0, 90))
    return time.process_time() - begin


def by_size(structures: list[Structure], seconds: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    """Patterns a second by atoms in the cell."""
    groups = defaultdict[int, list[str]](list)
    for structure in structures:
        if structure.id in seconds:
            groups[int(np.log2(len(structure.unit_cell)))].append(structure.id)
    return [
        {
            "atoms_in_cell": f"{2**power} to {2 ** (power + 1) - 1}",
            "structures": len(ids),
            **{f"{way}_patterns_per_s": round(1 / float(np.mean([seconds[key][way] for key in ids]))) for way in WAYS},
            "slowest_alone_ms": 1e3 * max(seconds[key]["alone"] for key in ids),
        }
        for power, ids in sorted(groups.items())
    ]


def by_way(seconds: dict[str, dict[str, float]], theirs: dict[str, float]) -> list[dict[str, Any]]:
    """One row a way of simulating, and one for pymatgen."""
    both = [key for key in theirs if key in seconds]
    rows: list[dict[str, Any]] = []
    for way in WAYS:
        times = [one[way] for one in seconds.values()]
        ratios = [theirs[key] / seconds[key][way] for key in both]
        rows.append(
            {
                "what": f"profile, {way}",
                "patterns_per_s": 1 / float(np.mean(times)),
                "ms_mean": 1e3 * geometric_mean(times),
                "ratio": geometric_mean(ratios) if ratios else None,
                "ratio_of_sums": sum(theirs[key] for key in both) / sum(seconds[key][way] for key in both)
                if both
                else None,
            }
        )
    if both:
        times = [theirs[key] for key in both]
        row = {"patterns_per_s": 1 / float(np.mean(times)), "ms_mean": 1e3 * geometric_mean(times)}
        rows.append({"what": "pymatgen, peaks only", **row})
    return rows


def by_step(structures: list[Structure]) -> list[dict[str, Any]]:
    """Time of each step of one pattern over all structures, a unit of its work, and what that costs in a bare loop."""
    settings = settings_of(1)["alone"]
    totals: dict[str, list[float]] = {step: [0.0, 0.0] for step in ("reflections", "structure factors", "profile")}
    whole = 0.0
    for structure in structures:
        reflections = list_reflections(structure, settings.d_min)
        atoms = scatterers(structure, settings.u_iso)
        reciprocal = np.linalg.inv(structure.cell.metric)
        lines = lines_of(structure, settings, np.ones((1, 3)))
        conditions = PowderConditions.uniform(20)
        scales = np.ones((20, 3))
        works = {
            "reflections": (lambda: list_reflections(structure, settings.d_min), reflections.multiplicity.sum()),  # noqa: B023
            "structure factors": (
                lambda: squared_structure_factors("", reflections, atoms, reciprocal),  # noqa: B023
                len(reflections) * len(atoms),
            ),
            "profile": (
                lambda: powder_profile(lines, scales, conditions, settings.radiation, settings.grid),  # noqa: B023
                20 * points_of(lines.hkl, reciprocal, settings),
            ),
        }
        for step, (work, units) in works.items():
            totals[step][0] += least_seconds(work) / (20 if step == "profile" else 1)
            totals[step][1] += float(units) / (20 if step == "profile" else 1)
        whole += least_seconds(lambda: one_pattern(structure, settings))  # noqa: B023
    bare = {"structure factors": bare_term_ns(), "profile": bare_point_ns()}
    units = {"reflections": "reflection", "structure factors": "atom and reflection", "profile": "point of a peak"}
    rows = [
        {
            "step": step,
            "share_of_a_pattern_alone": used / whole,
            "unit": units[step],
            "ns_per_unit": 1e9 * used / count,
            "bare_loop_ns": bare.get(step),
        }
        for step, (used, count) in totals.items()
    ]
    rest = 1 - sum(row["share_of_a_pattern_alone"] for row in rows)
    return [*rows, {"step": "the rest (atoms, merging, Python)", "share_of_a_pattern_alone": rest}]


def points_of(hkl: np.ndarray, reciprocal: np.ndarray, settings: PowderSettings) -> float:
    """Points of the grid that the peaks of a pattern reach, for peaks of 0.1 degrees and an exponent of 1.5."""
    sine = 0.5 * settings.radiation.wavelengths[0] * np.sqrt(inverse_squares(hkl, reciprocal))
    centre = 2 * np.degrees(np.arcsin(sine))
    reach = 0.1 * np.sqrt((TAIL ** (-1 / 1.5) - 1) / (4 * (2 ** (1 / 1.5) - 1)))
    low, high = np.maximum(centre - reach, 0.0), np.minimum(centre + reach, settings.grid.two_theta_max)
    return float(np.maximum(high - low, 0.0).sum() / settings.grid.two_theta_step)


def bare_term_ns() -> float:
    """Nanoseconds of a·b − c·d and its sum, for vectors in the first-level cache."""
    vectors = np.random.default_rng(0).random((4, 256))
    _dots(vectors, 10)
    return 1e9 * least_seconds(lambda: _dots(vectors, 20_000)) / (20_000 * 256)


@numba.njit(fastmath=True)
def _dots(vectors, times):  # type: ignore[no-untyped-def]
    a, b, c, d = vectors[0], vectors[1], vectors[2], vectors[3]
    total = 0.0
    for repeat in range(times):
        a[repeat % 256] += 1e-9
        for n in range(256):
            total += a[n] * b[n] - c[n] * d[n]
    return total


def bare_point_ns() -> float:
    """Nanoseconds a point of one peak that reaches over the whole pattern."""
    pattern = np.zeros(4501, dtype=np.float32)
    _peaks(pattern, 10)
    return 1e9 * least_seconds(lambda: _peaks(pattern, 2000)) / (2000 * 4501)


@numba.njit
def _peaks(pattern, times):  # type: ignore[no-untyped-def]
    for repeat in range(times):
        add_peak(pattern, 2250.3 + repeat % 7, 5.0, 1.0, 2.35, 1.5, 1e4)


if __name__ == "__main__":
    main()
