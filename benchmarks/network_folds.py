"""Cross-validation of ``cnn`` on the powder patterns of a run, with always guessing the commonest class beside it.

    python benchmarks/network_folds.py RUN [--folds 10] [--only N] [--epochs 40] [--batch 64] [--json FILE]

RUN has patterns (``hpc-mlsm simulate``). Folds are stratified by crystal system, and no composition with the same space
group is on both sides. Trainings that were ended go on, and folds that are there are not done again. ``--only`` takes
the first few folds, where all would take too long.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from _table import report

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.evaluation.fold_scores import MEASURES, dummy_probabilities, score_fold
from hpc_mlsm.evaluation.folds import Folds, FoldSettings, assign_folds, composition_key
from hpc_mlsm.models.cnn_settings import CnnSettings
from hpc_mlsm.stages.cnn_folds import CnnFold, train_fold
from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.structures.labels import CRYSTAL_SYSTEMS, system_labels


def main() -> None:
    """Train what is missing, print a table of means and standard deviations, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--only", type=int, help="so many folds")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--json", type=Path, help="file for the figures")
    asked = parser.parse_args()
    folds = folds_of(asked.run, asked.folds)
    settings = CnnSettings(epochs=asked.epochs, batch=asked.batch)
    numbers = range(asked.only or asked.folds)
    results = [fold_result(asked.run, folds, number, settings) for number in numbers]
    report(f"cnn on {asked.run.name}, {len(results)} of {asked.folds} folds", table(folds, results), asked.json)


def folds_of(run: Path, n: int) -> Folds:
    """Folds of the structures of a run, in the order of its store."""
    with PatternStore.open(run / "patterns" / "powder", "r") as store:
        ids = store.ids()
    with Catalogue(run / "catalog.sqlite", read_only=True) as catalogue:
        found = list(catalogue.summaries(ids))
    labels = system_labels([one.space_group for one in found])
    members = [composition_key(one.formula, one.space_group) for one in found]
    return assign_folds(members, labels, CRYSTAL_SYSTEMS, FoldSettings(n, disjoint="composition", rare="spread"))


def fold_result(run: Path, folds: Folds, number: int, settings: CnnSettings) -> dict[str, Any]:
    """Scores of one fold, kept in a file."""
    folder = run / f"folds-{settings.epochs}"
    path = folder / f"fold-{number}.json"
    if not path.exists():
        folder.mkdir(exist_ok=True)
        np.save(folder / "labels.npy", folds.labels)
        np.save(folder / "folds.npy", folds.fold_of.astype(np.int64))
        files = (run / "patterns" / "powder", folder / "labels.npy", folder / "folds.npy")
        of_fold = (number, folds.validation_fold(number), len(CRYSTAL_SYSTEMS), settings, folder / f"fold-{number}")
        start = time.process_time()
        found = train_fold(CnnFold(f"fold {number}", *files, *of_fold, f"{run.name}-{len(folds.labels)}"))
        minutes = (time.process_time() - start) / 60
        labels = folds.labels[found.structures]
        dummy = dummy_probabilities(folds.labels, folds.fold_of, len(CRYSTAL_SYSTEMS))[found.structures]
        scores = {"cnn": score_fold(labels, found.probabilities), "dummy": score_fold(labels, dummy)}
        plain = {name: {one: getattr(score, one) for one in MEASURES} for name, score in scores.items()}
        path.write_text(json.dumps({**plain, "epochs": len(found.history), "cpu_min": minutes}))
        print(path, path.read_text(), flush=True)
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def table(folds: Folds, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each model."""
    rows = []
    for name in ("cnn", "dummy"):
        row: dict[str, Any] = {"model": name, "structures": len(folds.labels), "folds": len(results)}
        for one in MEASURES:
            values = [result[name][one] for result in results]
            row |= {one: float(np.mean(values)), f"{one}_std": float(np.std(values, ddof=1) if len(values) > 1 else 0)}
        rows.append(row)
    rows[0] |= {
        "epochs": float(np.mean([result["epochs"] for result in results])),
        "cpu_min": sum(result["cpu_min"] for result in results),
    }
    return rows


if __name__ == "__main__":
    main()
