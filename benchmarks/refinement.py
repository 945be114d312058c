"""How fast structures are refined, and how near the optimum of diffpy.pdffit2.

    python benchmarks/refinement.py [--every 4] [--fine-every 24] [--own-every 4] [--measured FOLDER] [--frames 3000]
                                    [--json FILE]

``against pdffit2``: the same start, range and parameters (scale, cell, U_iso, q_damp) for both.
Data are curves of the native engine for cells strained by up to 0.5 %, with 5 % noise, on points 0.1 Å apart up to
30 Å; those of ``fine`` are 0.01 Å apart, as measured files have them: pdffit2 takes all of them, the native engine
the Nyquist grid, to which it comes by a spline that is part of its time. Of ``own curves`` each program gets the
curve that it computes itself for the strained cell, both with the same noise, so that what is left is not its
convention but where its search ends. With ``--measured`` the measured nickel is refined as well, with delta2.
``moves_A``: how far pdffit2 goes from its end if it starts where ours ended. ``d_cell`` is the largest difference of
a cell length. ``by pairs``: time of a fit against atoms and pairs. ``where the time goes``: parts of a fit.
``budget``: fits of a synthetic series with a change of structure and drifting cells, under budgets, and what follows
for many nodes.

Times are processor seconds of one thread, compilation left out; ``ratio`` is pdffit2's over ours, with its
geometric mean in the last row of each kind.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from _refinement_series import budget_rows
from _table import report
from scipy.interpolate import CubicSpline
from threadpoolctl import threadpool_limits

from hpc_mlsm.archive.readers import read_pattern
from hpc_mlsm.refinement.cell import NAMES
from hpc_mlsm.refinement.cost import seconds_per_fit
from hpc_mlsm.refinement.reference_pdffit2 import refine_with_pdffit2
from hpc_mlsm.refinement.refine import FitData, Refiner, fit_grid
from hpc_mlsm.refinement.result import Refinement, Values
from hpc_mlsm.refinement.settings import RefineSettings
from hpc_mlsm.scattering.conditions import PdfConditions, PdfGrid
from hpc_mlsm.scattering.engines import get_engine, native_engine
from hpc_mlsm.structures.starter import starter_set
from hpc_mlsm.structures.structure import Structure
from hpc_mlsm.structures.symmetry import axis_classes

Q_MAX = 25.0
NOISE = 0.05
COARSE = RefineSettings(r_step=0.1, correlated_motion="none")
FINE = 0.01
REPEATS = 3
PARTS = ("Ni-fcc", "TiO2-rutile", "Bi2Fe4O9-mullite", "ZrO2-baddeleyite")


@dataclass(frozen=True)
class Case:
    """One fit for both: the structure, what pdffit2 and we are given, the settings, and where both start."""

    kind: str
    structure: Structure
    theirs: FitData
    ours: FitData
    settings: RefineSettings
    start: Values
    spline: tuple[np.ndarray, np.ndarray] | None = None


def simulated(structure: Structure, fine: bool, own: bool = False) -> Case:
    """A strained crystal with noise; for pdffit2 of its own curve, if so asked."""
    step = FINE if fine else COARSE.r_step
    grid = PdfGrid(COARSE.r_min, COARSE.r_max, float(step or 0.1))
    factors = (1 + 0.005 * np.array([1.0, -0.7, 0.4]))[np.array(axis_classes(structure.operations))]
    conditions = PdfConditions.uniform(1, u_iso=0.008, q_damp=0.03, q_max=Q_MAX)
    values = native_engine(structure, factors[None], conditions, grid)[0]
    noise = CubicSpline(np.arange(400) * 0.1, np.random.default_rng(0).normal(size=400))(grid.r)
    noise *= NOISE * values.std()
    theirs = ours = FitData(grid, values + noise, 0.0, Q_MAX)
    if own:
        theirs = replace(ours, values=get_engine("pdffit2")(structure, factors[None], conditions, grid)[0] + noise)
    start = dict(zip(NAMES, structure.cell.parameters, strict=True)) | {"scale": 1.0, "u_iso": 0.006, "q_damp": 0.02}
    if own:
        return Case("own curves", structure, theirs, ours, COARSE, start)
    return _case("fine" if fine else "same points", structure, theirs, COARSE, start, fine)


def measured_nickel(folder: Path, fine: bool) -> Case:
    """Nickel powder, r up to 30 Å, as it was measured."""
    nickel = next(one for one in starter_set() if one.id == "starter/Ni-fcc")
    pattern = read_pattern(folder / "Ni.gr")
    step = FINE if fine else 0.1
    grid = PdfGrid(1.5, 30.0, step)
    theirs = FitData(grid, CubicSpline(pattern.x, pattern.y)(grid.r), 0.0, Q_MAX)
    settings = replace(COARSE, correlated_motion="delta2")
    start = {"a": 3.50, "b": 3.50, "c": 3.50, "scale": 1.0, "u_iso": 0.005, "delta2": 1.0, "q_damp": 0.03}
    return _case("measured Ni, " + ("fine" if fine else "same points"), nickel, theirs, settings, start, fine)


def _case(
    kind: str, structure: Structure, theirs: FitData, settings: RefineSettings, start: Values, fine: bool
) -> Case:
    if not fine:
        return Case(kind, structure, theirs, theirs, settings, start)
    settings = replace(settings, r_step=None)
    grid = fit_grid(theirs.grid.r_min, theirs.grid.r_max, Q_MAX, settings)
    spline = theirs.grid.r, theirs.values
    ours = FitData(grid, CubicSpline(*spline)(grid.r), 0.0, Q_MAX)
    return Case(kind, structure, theirs, ours, settings, start, spline)


def timed(case: Case) -> tuple[Refinement, float]:
    """Our fit, and its shortest time, with the listing of pairs and the way to the grid."""
    times = []
    for _ in range(REPEATS + 1):
        begin = time.process_time()
        if case.spline is not None:
            CubicSpline(*case.spline)(case.ours.grid.r)
        found = Refiner([case.structure], case.ours.grid, (0.0, Q_MAX), case.settings).fit(case.ours, case.start)
        times.append(time.process_time() - begin)
    return found, min(times[1:])


def compared(case: Case) -> dict[str, Any]:
    """One row of the comparison."""
    ours, seconds = timed(case)
    theirs = refine_with_pdffit2([case.structure], case.theirs, case.settings, case.start)
    values = ours.values
    again = refine_with_pdffit2([case.structure], case.theirs, case.settings, values)
    return {
        "kind": case.kind,
        "structure": case.structure.id.removeprefix("starter/"),
        "atoms": len(case.structure.unit_cell),
        "d_cell_A": max(abs(values[name] - theirs.values[name]) for name in "abc"),
        "d_u_percent": 100 * (theirs.values["u_iso"] / values["u_iso"] - 1),
        "r_w": ours.r_w,
        "r_w_pdffit2": theirs.r_w,
        "moves_A": max(abs(again.values[name] - theirs.values[name]) for name in "abc"),
        "ms": 1e3 * seconds,
        "ms_pdffit2": 1e3 * theirs.seconds,
        "ratio": theirs.seconds / seconds,
    }


def summed_up(kind: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The last row of a kind: means of times and the worst differences."""
    d_cell = np.array([row["d_cell_A"] for row in rows])
    ratio = np.array([row["ratio"] for row in rows])
    return {
        "kind": kind,
        "structure": f"all {len(rows)}: worst, geometric mean of ratios",
        "d_cell_A": float(d_cell.max()),
        "d_u_percent": float(np.abs([row["d_u_percent"] for row in rows]).max()),
        "r_w": float(np.max([abs(row["r_w"] - row["r_w_pdffit2"]) for row in rows])),
        "moves_A": float(np.max([row["moves_A"] for row in rows])),
        "ms": float(np.mean([row["ms"] for row in rows])),
        "ms_pdffit2": float(np.mean([row["ms_pdffit2"] for row in rows])),
        "ratio": float(np.exp(np.log(ratio).mean())),
        "within_1e-3_A": float(np.mean(d_cell <= 1e-3)),
        "within_0.002_r_w": float(np.mean([abs(row["r_w"] - row["r_w_pdffit2"]) <= 0.002 for row in rows])),
        "least_ratio": float(ratio.min()),
    }


def by_pairs(structures: Sequence[Structure]) -> list[dict[str, Any]]:
    """Fits a second against atoms and pairs, from starts nearby, structures made ready before."""
    rows = []
    settings = RefineSettings()
    for structure in structures:
        case = simulated(structure, fine=True)
        refiner = Refiner([structure], case.ours.grid, (0.0, Q_MAX), settings)
        start = refiner.fit(case.ours, case.start).values
        near = {key: value * 1.0005 if key in "abc" else value for key, value in start.items()}
        begin = time.process_time()
        found = [refiner.fit(case.ours, near) for _ in range(REPEATS)]
        seconds = (time.process_time() - begin) / REPEATS
        rows.append(
            {
                "structure": structure.id.removeprefix("starter/"),
                "system": structure.crystal_system,
                "atoms": len(structure.unit_cell),
                "pairs": sum(map(len, refiner.model.phases[0].pairs)),
                "evaluations": found[0].evaluations,
                "ms": 1e3 * seconds,
                "fits_per_s": 1 / seconds,
                "projected_ms": 1e3 * seconds_per_fit(structure, settings),
            }
        )
    return sorted(rows, key=lambda row: row["pairs"])


def parts(structure: Structure) -> dict[str, Any]:
    """Where the time of a fit goes: listing pairs, curves with derivatives, and all else."""
    case = simulated(structure, fine=True)
    found, seconds = timed(case)

    def listed() -> Refiner:
        return Refiner([structure], case.ours.grid, (0.0, Q_MAX), case.settings)

    model = listed().model
    x = model.start(found.values)
    listing = _mean(listed)
    evaluation, curve = _mean(lambda: model.curves_and_gradient(x)), _mean(lambda: model.curves(x))
    return {
        "structure": structure.id.removeprefix("starter/"),
        "pairs": sum(map(len, model.phases[0].pairs)),
        "ms": 1e3 * seconds,
        "pairs_ms": 1e3 * listing,
        "evaluations": found.evaluations,
        "evaluation_ms": 1e3 * evaluation,
        "curve_alone_ms": 1e3 * curve,
        "else_ms": 1e3 * (seconds - listing - found.evaluations * evaluation),
    }


def _mean(work: Callable[[], object], times: int = 20) -> float:
    begin = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - begin) / times


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--fine-every", type=int, default=24)
    parser.add_argument("--own-every", type=int, default=4)
    parser.add_argument("--pairs-every", type=int, default=16)
    parser.add_argument("--most-atoms", type=int, default=60, help="pdffit2 takes minutes for larger cells")
    parser.add_argument("--measured", type=Path)
    parser.add_argument("--frames", type=int, default=3000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    known = [one for one in starter_set() if len(one.unit_cell) <= options.most_atoms]
    tables: dict[str, list[dict[str, Any]]] = {}
    with threadpool_limits(1):
        rows: list[dict[str, Any]] = []
        for fine, own, every in (
            (False, False, options.every),
            (True, False, options.fine_every),
            (False, True, options.own_every),
        ):
            mine = [compared(simulated(one, fine, own)) for one in known[::every]] if every else []
            rows += [*mine, *([summed_up(mine[0]["kind"], mine)] if mine else [])]
        if options.measured:
            rows += [compared(measured_nickel(options.measured, fine)) for fine in (False, True)]
        tables["against pdffit2"] = rows
        if options.pairs_every:
            tables["by pairs"] = by_pairs(starter_set()[:: options.pairs_every])
            tables["where the time goes"] = [parts(one) for one in known if one.id.removeprefix("starter/") in PARTS]
        if options.frames:
            tables["budget"] = budget_rows(options.frames)
    for name, table in tables.items():
        if table:
            place = options.json and options.json.with_name(f"{options.json.stem}-{name.replace(' ', '-')}.json")
            report(f"refinement {name}", table, place)
    if options.json:
        print(json.dumps({"tables": list(tables)}))


if __name__ == "__main__":
    main()
