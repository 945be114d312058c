"""Prediction over archives of powder patterns: ``python benchmarks/powder_archive.py RUN [--models forest,cnn]``.

RUN has trained models and simulated patterns; frames are such patterns with counting noise over a background. Beside it
the same models are asked about single text files, one after the other, and about patterns that are prepared already
(``bare``). Each archive is predicted in a process of its own, whose largest memory is told.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from _table import report
from numpy.typing import NDArray

from hpc_mlsm.archive.powder_answers import answer_patterns, prepare_patterns
from hpc_mlsm.archive.powder_files import read_powder
from hpc_mlsm.archive.powder_settings import MeasuredPowderSettings
from hpc_mlsm.models.powder_models import PowderModel, load_powder_model
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.store.patterns import PatternStore

SIZES = (1_000, 10_000)
SINGLE_FILES = 60
AT_ONCE = 1000
_CHILD = """
import json, resource, sys, time
from pathlib import Path
from hpc_mlsm.config.load import parse_config
from hpc_mlsm.runtime.events import ignore
from hpc_mlsm.stages import predict_archive
from hpc_mlsm.stages.context import open_run
from hpc_mlsm.stages.run_directory import RunDirectory
archive, model, run, kind, workers = sys.argv[1:]
raw = {"executor": {"kind": kind} | ({"workers": int(workers)} if kind == "local" else {})}
with open_run(RunDirectory(Path(run)), parse_config(raw), ignore) as context:
    if kind == "local":
        context.executor.capacity
    predict_archive.load_classifier(Path(model).resolve(), context.config.predict.powder)
    start, busy = time.perf_counter(), time.process_time()
    summary = predict_archive.run(context, [archive], Path(model))
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
usage = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
found = {"seconds": seconds, "core_seconds": busy, "peak_mb": usage / 1e3, "set_aside": summary.set_aside}
print(json.dumps(found))
"""


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--models", default="forest,cnn")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--kind", default="inline")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stacks = {size: write_stack(folder / f"{size}.h5", asked.run, size) for size in asked.sizes}
        for model in asked.models.split(","):
            rows += _of_model(asked, load_powder_model(asked.run / "models" / model), stacks, folder)
    report("prediction over archives of powder patterns", rows, asked.json)


def write_stack(path: Path, run: Path, size: int) -> Path:
    """A stack of the run's patterns, each with noise of its own, made and written in blocks."""
    rng = np.random.default_rng(0)
    with PatternStore.open(RunDirectory(run, "powder").patterns, "r") as store, h5py.File(path, "w") as file:
        patterns = np.concatenate([batch.patterns for batch in store.iter_batches(512)])
        two_theta = np.asarray(store.axis().values)
        data = file.create_group("entry/data")
        data.attrs.update({"NX_class": "NXdata", "signal": "counts", "axes": ["frame", "two_theta"]})
        data["two_theta"] = two_theta
        data["two_theta"].attrs["units"] = "degree"
        counts = data.create_dataset("counts", (size, len(two_theta)), np.float32, chunks=(16, len(two_theta)))
        for start in range(0, size, AT_ONCE):
            clean = patterns[rng.integers(0, len(patterns), min(AT_ONCE, size - start))].astype(np.float64)
            largest = clean.max(axis=1, keepdims=True)
            mean = 5000 * clean / largest + 100 + 300 * np.exp(-two_theta / 20)
            counts[start : start + len(mean)] = rng.poisson(mean)
    return path


def _of_model(
    asked: argparse.Namespace, model: PowderModel, stacks: dict[int, Path], folder: Path
) -> list[dict[str, Any]]:
    with h5py.File(next(iter(stacks.values()))) as file:
        x, y = file["entry/data/two_theta"][()], file["entry/data/counts"][:SINGLE_FILES].astype(np.float64)
    single = _one_by_one(model, x, y, folder)
    rows: list[dict[str, Any]] = [{"model": model.name, "what": "single files", "frames": len(y), "frames/s": single}]
    for size, stack in stacks.items():
        run = folder / f"{model.name}-{size}"
        command = [sys.executable, "-c", _CHILD, str(stack), str(asked.run / "models" / model.name), str(run)]
        command += [asked.kind, str(asked.workers)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
        found = json.loads(done.stdout.splitlines()[-1])
        if asked.kind == "local":
            del found["core_seconds"]  # those of the workers are not seen
        rate = size / found["seconds"]
        rows.append(
            {
                "model": model.name,
                "what": f"archive, {asked.kind}",
                "frames": size,
                "frames/s": rate,
                "times single": rate / single,
            }
            | found
        )
    bare = _bare(model, x, y)
    rows.append({"model": model.name, "what": "bare model", "frames": len(y), "frames/s": bare})
    return rows


def _one_by_one(model: PowderModel, x: NDArray[np.float64], y: NDArray[np.float64], folder: Path) -> float:
    """Text files a second, read and answered one after the other."""
    paths = [folder / f"{number}.xy" for number in range(len(y))]
    for path, values in zip(paths, y, strict=True):
        np.savetxt(path, np.stack([x, values], axis=1), fmt="%.6g")
    settings = MeasuredPowderSettings()
    answer_patterns([model], read_powder(paths[0]), settings)
    start = time.perf_counter()
    for path in paths:
        answer_patterns([model], read_powder(path), settings)
    return len(paths) / (time.perf_counter() - start)


def _bare(model: PowderModel, x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Prepared patterns a second."""
    from hpc_mlsm.archive.pattern import Pattern

    patterns = [Pattern(str(k), x, values, "two_theta", "degree") for k, values in enumerate(y)]
    prepared = prepare_patterns([model], patterns, MeasuredPowderSettings())
    values = np.array([one.values for one in prepared.stripped] * 8)
    model.probabilities(values)
    start = time.perf_counter()
    model.probabilities(values)
    return len(values) / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
