"""An archive of known composition through all steps: how much of the truth comes back, and how fast.

    python benchmarks/archive_truth.py --model runs/pdf --frames 100000 --fits 300 --work /tmp/truth

Prints tables and writes them as JSON into the work folder. The archive is synthetic.
"""

import argparse
import resource
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from _table import report
from numpy.typing import NDArray

from hpc_mlsm.archive.synthetic_archive import Crystallisation, write_synthetic_archive
from hpc_mlsm.models.trust import VERDICTS
from hpc_mlsm.stages.archive_input import predictions_folder
from hpc_mlsm.stages.predict_archive import read_predictions
from hpc_mlsm.stages.report import stage_summaries
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.structures.starter import starter_set

PURE = 0.9
"""Share of a phase from which on a frame is said to be of that phase."""

WITH_CANDIDATES = 2
"""So many of the verdicts, the first, name a class."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--phases", default="Fe2O3,TiO2")
    parser.add_argument("--fits", type=int, default=300, help="Budget of the refinement.")
    parser.add_argument("--workers", type=int, help="Worker processes; without it one process does all.")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument(
        "--compare", type=Path, help="A run that is there already; with its archive in the work folder."
    )
    options = parser.parse_args()
    stack = options.work / "synthetic.h5"
    if not stack.exists():
        by_formula = {one.formula: one for one in starter_set()}
        phases = [by_formula[formula] for formula in options.phases.split(",")]
        write_synthetic_archive(stack, phases, Crystallisation(frames=options.frames))
    run = options.compare or options.work / "run"
    if options.compare is None:
        from hpc_mlsm.cli.archive_commands import run_archive

        how = ["executor.kind=inline"]
        if options.workers:
            how = ["executor.kind=local", f"executor.workers={options.workers}"]
        run_archive([str(stack)], options.model, run, None, [f"refine.budget.fits={options.fits}", *how], [])
    title = "what comes back of a synthetic archive"
    report(f"{title}: frames", frames_table(stack, run), options.work / "archive_truth_frames.json")
    report(f"{title}: components", components_table(stack, run), options.work / "archive_truth_components.json")
    report(f"{title}: cost", cost_table(run), options.work / "archive_truth_cost.json")


def frames_table(stack: Path, run: Path) -> list[dict[str, Any]]:
    """Verdicts and classes by what a frame is, and how the timeline does."""
    with h5py.File(stack) as file:
        shares, names = file["entry/truth/shares"][()], file["entry/truth/names"].asstr()[()]
    _, predicted = read_predictions(predictions_folder(RunDirectory(run)))
    first, confident = _first(run), predicted.verdict == VERDICTS.index("confident")
    rows = []
    for phase, name in enumerate([*names, "mixtures"]):
        own = shares[:, phase] > PURE if phase < len(names) else shares.max(axis=1) <= PURE
        row: dict[str, Any] = {"frames that are": str(name), "frames": int(own.sum())}
        row |= {word: float((predicted.verdict[own] == place).mean()) for place, word in enumerate(VERDICTS)}
        there = [str(one).partition(" ")[0] for one in names[1:]] if phase == len(names) else [str(name).split()[0]]
        named = np.isin(first, there)
        if phase:
            row["named right"] = float(named[own].mean())
        row["confident and wrong"] = float((confident & ~named)[own].mean())
        rows.append(row)
    formulae = np.array(["amorphous", *(str(one).partition(" ")[0] for one in names[1:])], dtype=object)
    amorphous = predicted.verdict == VERDICTS.index("amorphous")
    said = np.where(amorphous, "amorphous", np.where(predicted.verdict < WITH_CANDIDATES, first, ""))
    truth = formulae[shares.argmax(axis=1)]
    whole = {"frames that are": "all: the phase with the largest share", "frames": len(shares)}
    return [*rows, whole | {"named right": float((said == truth).mean())}]


def components_table(stack: Path, run: Path) -> list[dict[str, Any]]:
    """How components and their weights match the truth."""
    with h5py.File(stack) as file:
        truth = {name: file[f"entry/truth/{name}"][()] for name in ("shares", "curves")}
        names, grid = file["entry/truth/names"].asstr()[()], file["entry/data/r"][()]
    with h5py.File(run / "archive" / "archive.nxs") as file:
        entry = file["entry"]
        curves, r = entry["components/G"][()], entry["components/r"][()]
        weights = np.stack([entry[f"weights/component_{k + 1}"][()] for k in range(len(curves))], axis=1)
        used = entry["weights/frame"][()]
    rows = []
    for phase, name in enumerate(names):
        own = np.array([np.corrcoef(np.interp(r, grid, truth["curves"][phase]), one)[0, 1] for one in curves])
        error = weights[:, int(own.argmax())] - truth["shares"][used, phase]
        smooth = np.convolve(error, np.ones(100) / 100, "valid") if len(error) > 1000 else error
        pure = truth["shares"][used].max(axis=1) > PURE
        rows.append(
            {
                "phase": str(name),
                "of components": len(curves),
                "Pearson": float(own.max()),
                "weight, rms error": float(np.sqrt(np.mean(np.square(error)))),
                "in pure frames": float(np.sqrt(np.mean(np.square(error[pure])))),
                "largest of means of 100": float(np.abs(smooth).max()),
            }
        )
    return rows


def cost_table(run: Path) -> list[dict[str, Any]]:
    """Seconds and rates of the steps, and the largest memory of a process so far."""
    rows: list[dict[str, Any]] = [
        {"step": one.name, "seconds": one.seconds, "units": one.units, "of": one.unit_name}
        for one in stage_summaries(RunDirectory(run))
    ]
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1e3
    return [*rows, {"step": "largest memory of a process, MB", "units": round(peak)}]


def _first(run: Path) -> NDArray[np.object_]:
    """Formula of the first candidate of each frame."""
    with h5py.File(run / "archive" / "archive.nxs") as file:
        entry = file["entry"]
        formulae = np.array([*entry["classes/formula"].asstr()[()], ""], dtype=object)
        return np.asarray(formulae[entry["candidates/class"][()][:, 0]])


if __name__ == "__main__":
    main()
