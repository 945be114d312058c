"""Checkpoints of a network in training: what is needed to go on from a step as if nothing had happened."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.durable import write_durably
from hpc_mlsm.models.cnn_history import EpochRecord

STATE = "cnn-state.json"
Arrays = list[NDArray]


@dataclass
class Progress:
    """How far a training is.

    Attributes
    ----------
    epoch, step
        What comes next, both from 0.
    sums
        Loss, right answers and rows of the steps of this epoch, and seconds spent on it, waiting for input as well.
    history
        The finished epochs.
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("loss", "correct", "count"), 0.0))
    seconds: float = 0.0
    waited_s: float = 0.0
    history: list[EpochRecord] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class CnnCheckpoint:
    """Progress, weights, what the optimiser keeps, and the weights of the best epoch if there was one."""

    progress: Progress
    weights: Arrays
    optimizer: Arrays
    best: Arrays | None


def save_checkpoint(folder: Path, checkpoint: CnnCheckpoint, fingerprint: str) -> None:
    """Write the arrays, then the state that names them; only what the state names is ever read back.

    Parameters
    ----------
    folder
        Is made where it is missing; older checkpoints in it are removed.
    fingerprint
        Names the data and settings.

    Raises
    ------
    StoreError
        If it cannot be written; the checkpoint before is still there then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    progress = checkpoint.progress
    current = {f"w{k}": array for k, array in enumerate(checkpoint.weights)}
    current |= {f"o{k}": array for k, array in enumerate(checkpoint.optimizer)}
    files = {"current": _write(folder, f"cnn-{progress.epoch:05d}-{progress.step:07d}", current)}
    if checkpoint.best is not None:
        files["best"] = _write(folder, "cnn-best", {f"w{k}": array for k, array in enumerate(checkpoint.best)})
    state = {"fingerprint": fingerprint, "progress": asdict(progress), "files": files}
    write_durably(folder / STATE, json.dumps({**state, "sha256": _digest(state)}).encode())
    kept = {file["name"] for file in files.values()}
    for older in folder.glob("cnn-*.npz"):
        if older.name not in kept:
            older.unlink()


def load_checkpoint(folder: Path, fingerprint: str) -> CnnCheckpoint | None:
    """The checkpoint in a folder; None if there is none of this fingerprint that is whole and unaltered."""
    state = _state(folder)
    if state is None or state["fingerprint"] != fingerprint:
        return None
    try:
        current = _read(folder, state["files"]["current"])
        best = _read(folder, state["files"]["best"]) if "best" in state["files"] else None
    except (OSError, ValueError, KeyError):
        return None
    raw = dict(state["progress"])
    progress = Progress(**{**raw, "history": [EpochRecord(**record) for record in raw["history"]]})
    return CnnCheckpoint(
        progress, _numbered(current, "w"), _numbered(current, "o"), None if best is None else _numbered(best, "w")
    )


def checkpoint_digest(folder: Path, fingerprint: str) -> str:
    """Names the checkpoint that ``load_checkpoint`` would give, so that ranks can compare; empty for none."""
    state = _state(folder)
    return state["sha256"] if state is not None and state["fingerprint"] == fingerprint else ""


def epochs_done(folder: Path, fingerprint: str) -> int | None:
    """Epochs that are finished in the checkpoint; None where there is none of this fingerprint."""
    state = _state(folder)
    return state["progress"]["epoch"] if state is not None and state["fingerprint"] == fingerprint else None


def remove_checkpoints(folder: Path) -> None:
    """Remove what a finished training does not need; the history and logs beside it stay."""
    for path in (folder / STATE, *folder.glob("cnn-*.npz")):
        path.unlink(missing_ok=True)


def _write(folder: Path, stem: str, arrays: Mapping[str, NDArray]) -> dict[str, str]:
    image = io.BytesIO()
    np.savez(image, allow_pickle=False, **arrays)
    content = image.getbuffer()
    checksum = hashlib.sha256(content).hexdigest()
    name = f"{stem}-{checksum[:16]}.npz"
    if not (folder / name).exists():
        write_durably(folder / name, content)
    return {"name": name, "sha256": checksum}


def _read(folder: Path, file: Mapping[str, str]) -> dict[str, NDArray]:
    content = (folder / Path(file["name"]).name).read_bytes()
    if hashlib.sha256(content).hexdigest() != file["sha256"]:
        raise ValueError("the checksum differs")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays)


def _numbered(arrays: Mapping[str, NDArray], letter: str) -> Arrays:
    return [arrays[f"{letter}{k}"] for k in range(sum(name.startswith(letter) for name in arrays))]


def _state(folder: Path) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = json.loads((folder / STATE).read_bytes())
        claimed = state.pop("sha256")
        return {**state, "sha256": claimed} if claimed == _digest(state) else None
    except (OSError, ValueError, KeyError, AttributeError):
        return None


def _digest(state: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
