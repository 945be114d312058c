"""Small archives for tests, written as instruments and their software do."""

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

R = np.round(np.arange(0.0, 15.001, 0.1), 10)


def curves(n: int, points: int = len(R)) -> NDArray[np.float32]:
    """Curves that all differ."""
    x = np.linspace(0, 1, points)
    return np.array([np.sin(40 * x + k) * np.exp(-x) for k in range(n)], dtype=np.float32)


def write_stack(path: Path, frames: NDArray[np.floating], *, name: str = "r", unit: str = "angstrom") -> Path:
    """A NeXus file with one stack, temperature along its frames and a load beside it."""
    with h5py.File(path, "w") as file:
        file.attrs["default"] = "entry"
        entry = file.create_group("entry")
        entry.attrs["default"] = "data"
        data = entry.create_group("data")
        data.attrs.update({"NX_class": "NXdata", "signal": "G", "axes": ["temperature", name]})
        data["G"] = frames
        data[name] = np.arange(frames.shape[-1]) * 0.1
        data[name].attrs["units"] = unit
        data["temperature"] = 300.0 + np.arange(len(frames))
        data["temperature"].attrs["units"] = "K"
        data["load"] = np.arange(len(frames)) % 7
    return path


def write_text(folder: Path, frames: NDArray[np.floating], header: str = "#L r($\\AA$)  G($\\AA^{-2}$)") -> Path:
    """A folder of .gr files, one a frame, whose names hold a temperature."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, frame in enumerate(frames):
        rows = "\n".join(f"{r:g} {g:.7g}" for r, g in zip(np.arange(len(frame)) * 0.1, frame, strict=True))
        (folder / f"s{k + 1}_{100 + k}K.gr").write_text(f"{header}\n{rows}\n")
    return folder
