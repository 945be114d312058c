"""Learning curve of both forests: accuracy on one fixed tenth of the structures against how many are learnt from.

The dummy, which always answers the commonest class, stands beside them. A simulated run of powder patterns is needed:

    python benchmarks/forest_learning.py RUN --json curve.json
"""

import argparse
import hashlib
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from hpc_mlsm.evaluation.fold_scores import FoldScores, score_fold
from hpc_mlsm.evaluation.folds import FoldSettings
from hpc_mlsm.models.forest_rows import ForestRows
from hpc_mlsm.runtime.events import ignore
from hpc_mlsm.runtime.inline import InlineExecutor
from hpc_mlsm.stages.data_sets import labelled_sets
from hpc_mlsm.stages.forest_features import StorePeaks, store_peaks
from hpc_mlsm.stages.forests import train_forest
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.train_powder import background_of_run, forest_settings
from hpc_mlsm.structures.labels import CRYSTAL_SYSTEMS


def main() -> None:
    """Print the table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    directory = RunDirectory(given.run, "powder")
    config = directory.load()
    part = labelled_sets(directory, config)[0]
    with InlineExecutor() as executor:
        folder = given.run.resolve() / "features"
        store = directory.patterns.resolve()
        peaks = store_peaks(executor, folder, store, config.classify.peaks, background_of_run(config), ignore)
        fold_of = part.folds(FoldSettings(rare="spread")).fold_of
        pool = np.flatnonzero(fold_of > 0)
        order = pool[np.argsort([hashlib.sha256(part.ids[k].encode()).digest() for k in pool])]
        rows: list[dict[str, Any]] = []
        print(f"{'structures':>10} {'forest':>8} {'extra_trees':>12} {'dummy':>7} {'forest/dummy':>13} {'s':>6}")
        for size in _sizes(len(order)):
            start = time.monotonic()
            scores = {"structures": size} | {
                name: float(_score(executor, peaks, part.labels, fold_of, order[:size], name, config).accuracy)
                for name in ("forest", "extra_trees")
            }
            test = np.flatnonzero(fold_of[peaks.structures] == 0)
            own = part.labels[peaks.structures[test]]
            scores["dummy"] = float(np.mean(own == np.bincount(part.labels[order[:size]]).argmax()))
            rows.append(scores)
            print(
                f"{size:>10} {scores['forest']:>8.3f} {scores['extra_trees']:>12.3f} {scores['dummy']:>7.3f} "
                f"{scores['forest'] / scores['dummy']:>13.2f} {time.monotonic() - start:>6.1f}",
                flush=True,
            )
    if given.json:
        given.json.write_text(
            json.dumps({"run": str(given.run), "test_structures": len(set(test)), "rows": rows}, indent=1)
        )


def _sizes(most: int) -> list[int]:
    """Doublings that end at all there are."""
    sizes = [most]
    while sizes[-1] > 150:
        sizes.append(sizes[-1] // 2)
    return sizes[::-1]


def _score(
    executor: InlineExecutor,
    peaks: StorePeaks,
    labels: np.ndarray,
    fold_of: np.ndarray,
    learnt: np.ndarray,
    name: Any,
    config: Any,
) -> FoldScores:
    settings = forest_settings(config, name)
    features = peaks.table.features(settings.kind)
    train = np.isin(peaks.structures, learnt)
    test = fold_of[peaks.structures] == 0
    with tempfile.TemporaryDirectory() as folder:
        forest = train_forest(
            executor, ForestRows.of(features[train], labels[peaks.structures[train]]), settings, Path(folder)
        )
    found = np.zeros((int(test.sum()), len(CRYSTAL_SYSTEMS)))
    found[:, forest.classes_] = forest.predict_proba(features[test])
    return score_fold(labels[peaks.structures[test]], found)


if __name__ == "__main__":
    main()
