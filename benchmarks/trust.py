"""How far verdicts and probabilities can be trusted: ``python benchmarks/trust.py RUN [--json FILE]``.

A model is trained on the patterns of a run's store without a share of its classes; then it answers test patterns of the
classes it knows, patterns of those it does not, noise, and amorphous curves.
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _table import report
from numpy.typing import NDArray

from hpc_mlsm.evaluation.splits import PARTS
from hpc_mlsm.models.boosted import predict_margins, train_boosted
from hpc_mlsm.models.bundle import Bundle, BundleInfo
from hpc_mlsm.models.calibration import expected_calibration_error, fit_temperature, probabilities, reliability
from hpc_mlsm.models.retrieval import Retrieval
from hpc_mlsm.models.surrogates import no_patterns, with_noise
from hpc_mlsm.models.trust import VERDICTS
from hpc_mlsm.models.trust_fit import fit_trust
from hpc_mlsm.runtime.resources import usable_cores
from hpc_mlsm.scattering.normalise import standardise
from hpc_mlsm.stages.rows import LabelledRows
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.store.patterns import PatternStore

UNKNOWN, IGNORED = -1, -2
COVERAGES = (0.8, 0.9, 0.95, 0.99)
Rows = tuple[NDArray[np.float32], NDArray[np.int64]]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--left-out", type=float, default=0.2)
    parser.add_argument("--classes", type=int, help="take so many of the run's classes")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0, help="of the choice of classes")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    run = RunDirectory(asked.run)
    config = run.load()
    label_of = {
        member.id: label for label, entry in enumerate(load_bundle_classes(run.model)) for member in entry["members"]
    }
    with PatternStore.open(run.patterns, "r") as store:
        ids = store.ids()
        rows = LabelledRows(
            store,
            np.array([label_of[key] for key in ids]),
            _parts(ids, config),
        )
        axis = store.axis()
        rng = np.random.default_rng(asked.seed)
        n = int(rows.labels.max()) + 1
        chosen = rng.permutation(n)[: asked.classes]
        kept, out = np.split(chosen, [len(chosen) - int(asked.left_out * len(chosen))])
        relabel = np.full(n, IGNORED)
        relabel[out] = UNKNOWN
        relabel[kept] = np.arange(len(kept))
        data = {part: _rows(rows, part, relabel) for part in PARTS}
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        settings = config.train.boosted.__class__(**{**config.train.boosted.__dict__, "rounds": asked.rounds})
        model = train_boosted(
            partial(_known, data["train"]),
            partial(_known, data["validation"]),
            len(kept),
            settings,
            Path(folder),
            "trust",
            threads=usable_cores(),
        )
    print(f"trained {len(kept)} of {len(chosen)} classes in {time.perf_counter() - start:.0f} s")
    retrieval = Retrieval.of(*next(_known(data["train"])), len(kept))
    margins_of = lambda patterns: predict_margins(model.booster, patterns, len(kept))  # noqa: E731
    start = time.perf_counter()
    temperature, trust = fit_trust(margins_of, retrieval, *next(_known(data["validation"])), (axis.name, axis.values))
    print(f"trust learned in {time.perf_counter() - start:.0f} s: temperature {temperature:.3g}, {trust.figures}")
    info = BundleInfo("boosted", axis.name, axis.unit, tuple(axis.values), len(kept), temperature, "", "", {})
    bundle = Bundle(info, (), (), retrieval, bytes(model.booster.save_raw("ubj")), trust)
    table = _calibration(bundle, data, margins_of) + _verdicts(bundle, data, axis.name, axis.values)
    report("trust", table, asked.json)


def load_bundle_classes(folder: Path) -> Any:
    """The class table of a bundle of any version."""
    import json

    return [
        {"members": [type("Member", (), {"id": member["id"]}) for member in entry["members"]]}
        for entry in json.loads(next(folder.glob("classes-*.json")).read_text())
    ]


def _parts(ids: list[str], config: Any) -> NDArray[np.int8]:
    from hpc_mlsm.evaluation.splits import split_variants

    return np.stack([split_variants(key, config.simulate.variants, config.split) for key in ids])


def _rows(rows: LabelledRows, part: Any, relabel: NDArray[np.int64]) -> Rows:
    batches = list(rows.batches(part))
    patterns = np.concatenate([batch for batch, _ in batches])
    labels = relabel[np.concatenate([own for _, own in batches])]
    return patterns, labels


def _known(rows: Rows) -> Any:
    patterns, labels = rows
    yield patterns[labels >= 0], labels[labels >= 0]


def _calibration(bundle: Bundle, data: dict[str, Rows], margins_of: Any) -> list[dict[str, Any]]:
    patterns, labels = next(_known(data["test"]))
    found = {"pooled with correlations": bundle.probabilities(patterns)}
    validation, own = next(_known(data["validation"]))
    alone = fit_temperature(margins_of(validation), own)
    found["temperature alone"] = probabilities(margins_of(patterns), alone)
    table: list[dict[str, Any]] = []
    for name, p in found.items():
        confidence, right = p.max(axis=1).astype(float), p.argmax(axis=1) == labels
        ece = expected_calibration_error(confidence, right)
        table.append(
            {"what": name, "rows": len(labels), "top-1": right.mean(), "mean p": confidence.mean(), "ECE": ece}
        )
        for stated, share, count in zip(*reliability(confidence, right, 10), strict=True):
            table.append({"what": "  bin", "rows": int(count), "mean p": stated, "top-1": share})
    p = found["pooled with correlations"]
    for coverage in COVERAGES:
        inside = p >= bundle.trust.threshold(coverage)
        inside[np.arange(len(p)), p.argmax(axis=1)] = True
        table.append(
            {
                "what": f"conformal set, {coverage:.0%} asked",
                "rows": len(p),
                "coverage": inside[np.arange(len(p)), labels].mean(),
                "mean size": inside.sum(axis=1).mean(),
                "of one": (inside.sum(axis=1) == 1).mean(),
            }
        )
    return table


def _verdicts(bundle: Bundle, data: dict[str, Rows], name: str, axis: NDArray[np.float64]) -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    patterns, labels = data["test"]
    known, unknown = patterns[labels >= 0], patterns[labels == UNKNOWN]
    sets = {"test, known classes": known, "the same with noise": standardise(with_noise(known, rng))}
    if len(unknown):
        sets |= {"classes left out": unknown, "left out, with noise": standardise(with_noise(unknown, rng))}
    made = standardise(no_patterns(known, axis, name, rng))
    kinds = ("white noise", "band-limited noise", "phases drawn anew", "amorphous")
    sets |= dict(zip(kinds, np.array_split(made, 4), strict=True))
    table = []
    for what, own in sets.items():
        answers = bundle.answers(own, 1, 0.95)
        row: dict[str, Any] = {"what": f"verdicts: {what}", "rows": len(own)}
        row |= {verdict: float((answers.verdict == k).mean()) for k, verdict in enumerate(VERDICTS)}
        if len(own) == len(known):
            sure = answers.verdict == 0
            row["top-1"] = float((answers.classes[sure, 0] == labels[labels >= 0][sure]).mean())
        table.append(row)
    return table


if __name__ == "__main__":
    main()
