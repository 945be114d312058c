"""Prediction over an archive against the published way of it: ``python benchmarks/archive.py BUNDLE [--json FILE]``.

The published program (MLstructureMining) makes one matrix for every frame, asks its model, and writes a CSV file of all
classes; here the same is done with the same model on a sample of the frames. ``bare`` is what XGBoost alone does with
all frames in memory, and ``trees`` what ``models.trees``, by which archives are answered, does with them. Each size of
archive is predicted in a process of its own, whose largest memory is told. Rates are a second of processor time, so
that other work on the machine counts for little; set OMP_NUM_THREADS=1.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from _table import report
from numpy.typing import NDArray

from hpc_mlsm.models.bundle import load_bundle
from hpc_mlsm.scattering.normalise import standardise

SIZES = (1_000, 10_000, 100_000)
PUBLISHED_FRAMES = 200
MARGINS = {"predict_type": "margin", "validate_features": False}
_CHILD = """
import json, resource, sys, time
from pathlib import Path
from hpc_mlsm.config.load import parse_config
from hpc_mlsm.runtime.events import ignore
from hpc_mlsm.stages import predict_archive
from hpc_mlsm.stages.context import open_run
from hpc_mlsm.stages.run_directory import RunDirectory
archive, bundle, run, kind, workers = sys.argv[1:]
raw = {"executor": {"kind": kind} | ({"workers": int(workers)} if kind == "local" else {})}
with open_run(RunDirectory(Path(run)), parse_config(raw), ignore) as context:
    if kind == "local":
        context.executor.capacity
    loaded = predict_archive.load_classifier(Path(bundle).resolve(), context.config.predict.powder).bundle
    loaded.answers(loaded.retrieval.references[:64], 3, 0.95)
    start, cpu = time.perf_counter(), time.process_time()
    summary = predict_archive.run(context, [archive], Path(bundle))
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
usage = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(json.dumps({"seconds": seconds, "cpu_s": cpu, "peak_mb": usage / 1e3, "verdicts": summary.verdicts}))
"""


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--kind", default="inline")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    bundle = load_bundle(asked.bundle)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        source = frames_like(bundle.retrieval.references, max(asked.sizes))
        published = _published(bundle, source[:PUBLISHED_FRAMES], Path(folder))
        rows.append({"what": "published way", "frames": PUBLISHED_FRAMES, "frames/s": PUBLISHED_FRAMES / published})
        bare = _bare(partial(bundle.booster.inplace_predict, **MARGINS), source[:10_000])
        rows.append({"what": "bare model", "frames": min(10_000, len(source)), "frames/s": bare})
        trees = _bare(bundle.margins, source[:10_000])
        rows.append({"what": "trees", "frames": min(10_000, len(source)), "frames/s": trees, "of bare": trees / bare})
        for size in asked.sizes:
            path = Path(folder) / f"frames-{size}.h5"
            _write(path, source[:size], bundle.info.grid)
            found = _predicted(path, asked, Path(folder) / f"run-{size}")
            rate = size / found["cpu_s" if asked.kind == "inline" else "seconds"]
            rows.append(
                {
                    "what": f"archive, {asked.kind}",
                    "frames": size,
                    "frames/s": rate,
                    "of bare": rate / bare,
                    "times published": rate * published / PUBLISHED_FRAMES,
                    "peak_mb": found["peak_mb"],
                    "cpu_s": found["cpu_s"],
                    "seconds": found["seconds"],
                }
            )
    report(
        f"prediction over archives, {bundle.info.n_classes} classes, {len(bundle.info.grid)} points", rows, asked.json
    )


def frames_like(references: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    """Frames from training patterns, each with noise of its own."""
    rng = np.random.default_rng(0)
    chosen = references[rng.integers(0, len(references), n)]
    noise = rng.normal(size=chosen.shape).astype(np.float32)
    return chosen + 0.05 * chosen.std(axis=1, keepdims=True) * noise


def _published(bundle: Any, frames: NDArray[np.float32], folder: Path) -> float:
    """Processor seconds for one matrix and one CSV of all classes a frame, from a text file each."""
    import pandas as pd
    import xgboost

    paths = []
    for number, frame in enumerate(frames):
        paths.append(folder / f"published-{number}.gr")
        np.savetxt(paths[-1], np.stack([bundle.info.grid, frame], axis=1))
    ids = [entry.class_id for entry in bundle.classes]
    start = time.process_time()
    for path in paths:
        r, g = np.loadtxt(path).T
        values = np.interp(bundle.info.grid, r, g)
        p = bundle.booster.predict(xgboost.DMatrix(standardise(values[None])))[0]
        order = np.argsort(-p)
        pd.DataFrame({"class": [ids[k] for k in order], "probability": p[order]}).to_csv(path.with_suffix(".csv"))
    return time.process_time() - start


def _bare(margins: Callable[[NDArray[np.float32]], Any], frames: NDArray[np.float32]) -> float:
    """Frames a processor second of the model alone, all in memory; the best of three."""
    values = np.ascontiguousarray(standardise(frames))
    best = np.inf
    for _ in range(3):
        start = time.process_time()
        margins(values)
        best = min(best, time.process_time() - start)
    return len(frames) / best


def _write(path: Path, frames: NDArray[np.float32], grid: NDArray[np.float64]) -> None:
    with h5py.File(path, "w") as file:
        data = file.create_group("entry/data")
        data.attrs.update({"NX_class": "NXdata", "signal": "G", "axes": ["frame", "r"]})
        data.create_dataset("G", data=frames, chunks=(256, len(grid)))
        data["r"] = grid
        data["r"].attrs["units"] = "angstrom"


def _predicted(path: Path, asked: argparse.Namespace, run: Path) -> dict[str, Any]:
    address = f"{path}::/entry/data"
    command = [sys.executable, "-c", _CHILD, address, str(asked.bundle), str(run), asked.kind, str(asked.workers)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
