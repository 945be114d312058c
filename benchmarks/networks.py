"""The published network against the smaller one: accuracy against what the training cost, on one and the same split.

    python benchmarks/networks.py FOLDER [--crystals 5000] [--only NAME …] [--epochs NAME=N …] [--threads 1]
                                  [--json FILE]

FOLDER keeps the crystals' patterns, the checkpoints and the results: what is there is not done again, and a training
that was ended goes on. Crystals are made up (``structures/synthetic``), an equal number of each crystal system, one
pattern each, as ``configs/run/powder-paper.yaml`` simulates it. Of ten stratified folds of structures the first two
test, the third stops the training, and seven are trained on.

``cpu_min`` is processor time of training and validation, which does not grow when the machine does other things as
well. ``pflop`` counts the operations of the training steps. ``top1`` and the rest are of the test patterns, by the
weights of the epoch with the lowest validation loss; ``pm`` is the standard error of ``top1``.
"""

import argparse
import json
import os
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from _crystals import Crystals, crystals_at
from _table import report

from hpc_mlsm.evaluation.folds import FoldSettings, assign_folds
from hpc_mlsm.models.cnn_agreement import settings_fingerprint
from hpc_mlsm.models.cnn_cost import network_cost
from hpc_mlsm.models.cnn_history import EpochRecord, Hooks
from hpc_mlsm.models.cnn_settings import CnnSettings
from hpc_mlsm.structures.labels import CRYSTAL_SYSTEMS

CONTESTANTS = {
    "cnn-paper": CnnSettings.paper(epochs=40, batch=32),
    "cnn": CnnSettings(epochs=16, batch=32),
    "cnn, narrow": CnnSettings(
        epochs=12, batch=32, widths=(32, 48, 64, 96, 128), heights=0.2, stretch=0.1, dropout=0.0
    ),
    "cnn, 40 epochs": CnnSettings(),
}
"""Epochs are what two cores do in about an hour; the published training may take 1000, and ends when the loss does not
fall for 50."""


def main() -> None:
    """Train what is missing, print the table of all that is there, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--crystals", type=int, default=5000)
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--epochs", nargs="+", default=[], metavar="NAME=N")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file for the figures")
    asked = parser.parse_args()
    epochs = {name: int(number) for name, _, number in (one.partition("=") for one in asked.epochs)}
    crystals = crystals_at(asked.folder, asked.crystals)
    for name in asked.only:
        settings = replace(CONTESTANTS[name], threads=asked.threads)
        contest(crystals, name, replace(settings, epochs=epochs.get(name, settings.epochs)))
    rows = [json.loads(path.read_text())["row"] for path in sorted(asked.folder.glob("*/result.json"))]
    report(f"networks on {asked.crystals} synthetic crystals", rows, asked.json)


def contest(crystals: Crystals, name: str, settings: CnnSettings) -> None:
    """Train and test one network, unless that was done."""
    from hpc_mlsm.models.cnn_model import CnnModel
    from hpc_mlsm.models.cnn_train import train_cnn
    from hpc_mlsm.stages.cnn_folds import scaled_margins
    from hpc_mlsm.stages.store_rows import StoreRows

    folder = crystals.folder / name
    if (folder / "result.json").exists():
        return
    folds = assign_folds(crystals.ids, crystals.labels, CRYSTAL_SYSTEMS, FoldSettings()).fold_of
    parts = [folds > 2, folds == 2, folds < 2]
    with crystals.store() as store:
        train, validation, test = (StoreRows(store, {"class": crystals.labels}, part, settings.scale) for part in parts)
    clock = _Clock(folder / "cpu.jsonl")
    # Without a schedule, a training may be made longer or shorter.
    fixed = replace(settings, epochs=1) if settings.schedule == "constant" else settings
    fingerprint = json.dumps([len(crystals.ids), settings_fingerprint(fixed)])
    trained = train_cnn(train, validation, 7, settings, folder, fingerprint, hooks=Hooks(on_epoch=clock.note))
    scores = scaled_margins(CnnModel.of(settings, train.n_points, 7, trained.weights), test)
    row = _row(name, settings, scores, test.targets["class"], clock.minutes(), trained.history, trained.best_epoch)
    course = [asdict(record) for record in trained.history]
    (folder / "result.json").write_text(json.dumps({"row": row, "course": course, "settings": asdict(settings)}))


def _row(
    name: str,
    settings: CnnSettings,
    scores: np.ndarray,
    labels: np.ndarray,
    minutes: float,
    history: tuple[EpochRecord, ...],
    best: int,
) -> dict[str, Any]:
    place = (scores > scores[np.arange(len(labels)), labels][:, None]).sum(axis=1)
    right = place == 0
    seen = sum(record.rows for record in history)
    return {
        "network": name,
        "epochs": len(history),
        "best_epoch": best,
        "patterns_an_epoch": history[-1].rows,
        "pflop": seen * network_cost(settings, 4501, 7).training_flop / 1e15,
        "cpu_min": minutes,
        "train_top1": history[best - 1].accuracy,
        "top1": float(right.mean()),
        "pm": float(np.sqrt(right.mean() * (1 - right.mean()) / len(right))),
        "top2": float((place < 2).mean()),
        "balanced": float(np.mean([right[labels == k].mean() for k in range(7)])),
        "always_the_commonest": float(np.bincount(labels).max() / len(labels)),
    }


class _Clock:
    """Processor time of each epoch, kept over interruptions."""

    def __init__(self, path: Path) -> None:
        self.path, self.last = path, time.process_time()

    def note(self, record: EpochRecord) -> None:
        now = time.process_time()
        line = {"epoch": record.epoch, "cpu_s": now - self.last, "accuracy": record.validation_accuracy}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.last = now

    def minutes(self) -> float:
        lines = [json.loads(line) for line in self.path.read_text().splitlines()]
        return sum({line["epoch"]: line["cpu_s"] for line in lines}.values()) / 60


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
