"""An archive of known composition through all steps: how much of the truth comes back, and how fast.

    python benchmarks/archive_truth.py --model runs/pdf --frames 100000 --work /tmp/truth

Prints tables and writes ``archive_truth.json`` into the work folder. The archive is synthetic.
"""

import argparse
from pathlib import Path

import h5py
import numpy as np
from _table import report

from hpc_mlsm.archive.synthetic_archive import Crystallisation, write_synthetic_archive
from hpc_mlsm.stages.archive_input import predictions_folder
from hpc_mlsm.stages.predict_archive import read_predictions
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.structures.starter import starter_set

PURE = 0.9
"""Share of a phase from which on a frame is said to be of that phase."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--phases", default="Fe2O3,TiO2")
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

        run_archive([str(stack)], options.model, run, None, [], [])
    found = compare(stack, run)
    rows = [{"quantity": key, "value": round(value, 4)} for key, value in found.items()]
    report("what comes back of a synthetic archive", rows, options.work / "archive_truth.json")


def compare(stack: Path, run: Path) -> dict[str, float]:
    """What came back of the truth."""
    with h5py.File(stack) as file:
        truth = {name: file[f"entry/truth/{name}"][()] for name in ("shares", "curves")}
        names = file["entry/truth/names"].asstr()[()]
        grid = file["entry/data/r"][()]
    directory = RunDirectory(run)
    _, predicted = read_predictions(predictions_folder(directory))
    with h5py.File(run / "archive" / "archive.nxs") as file:
        entry = file["entry"]
        formulae = np.array([*entry["classes/formula"].asstr()[()], ""], dtype=object)
        first = formulae[entry["candidates/class"][()][:, 0]]
        curves, r = entry["components/G"][()], entry["components/r"][()]
        weights = np.stack([entry[f"weights/component_{k + 1}"][()] for k in range(len(curves))], axis=1)
        used = entry["weights/frame"][()]
    shares = truth["shares"]
    found: dict[str, float] = {"frames": len(shares), "components": len(curves)}
    for phase, name in enumerate(names):
        formula = str(name).partition(" ")[0]
        pure = shares[:, phase] > PURE
        if phase:
            found[f"{formula}: frames named right"] = float((first[pure] == formula).mean())
            found[f"{formula}: confident"] = float((predicted.verdict[pure] == 0).mean())
            found[f"{formula}: confident and wrong"] = float(
                ((predicted.verdict[pure] == 0) & (first[pure] != formula)).mean()
            )
        else:
            found["amorphous: said to be so"] = float((predicted.verdict[pure] == 3).mean())
            found["amorphous: confident"] = float((predicted.verdict[pure] == 0).mean())
        own = np.array([np.corrcoef(np.interp(r, grid, truth["curves"][phase]), one)[0, 1] for one in curves])
        best = int(own.argmax())
        found[f"{formula}: component, Pearson"] = float(own.max())
        error = weights[:, best] - shares[used, phase]
        found[f"{formula}: weights, rms error"] = float(np.sqrt(np.mean(np.square(error))))
        smooth = np.convolve(error, np.ones(100) / 100, "valid") if len(error) > 1000 else error
        found[f"{formula}: weights, largest error of means of 100"] = float(np.abs(smooth).max())
    return found


if __name__ == "__main__":
    main()
