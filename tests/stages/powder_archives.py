"""Forests that tell cubic from tetragonal lattices within a second, and archives of patterns of such lattices."""

import tempfile
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.models.forest_bundle import Forest, ForestInfo
from hpc_mlsm.models.forest_rows import ForestRows
from hpc_mlsm.models.forest_settings import ForestSettings
from hpc_mlsm.models.peak_features import NOISY, find_peak_table
from hpc_mlsm.runtime.inline import InlineExecutor
from hpc_mlsm.stages.forests import train_forest
from hpc_mlsm.structures.labels import CRYSTAL_SYSTEMS

GRID = (5.0, 0.04, 2001)
WAVELENGTH = 1.54056
X = GRID[0] + GRID[1] * np.arange(GRID[2])
CUBIC, TETRAGONAL = CRYSTAL_SYSTEMS.index("cubic"), CRYSTAL_SYSTEMS.index("tetragonal")


def lattice_pattern(a: float, c: float, x: np.ndarray = X, wavelength: float = WAVELENGTH) -> np.ndarray:
    """Peaks of equal height at Bragg's angles of a primitive tetragonal lattice, as wide for every wavelength."""
    index = np.arange(7)
    h, k, m = [one.ravel() for one in np.meshgrid(index, index, index)]
    inverse = np.unique(np.round(np.sqrt((h**2 + k**2) / a**2 + m**2 / c**2), 9))[1:]
    sine = wavelength * inverse / 2
    angles = 2 * np.degrees(np.arcsin(sine[sine < np.sin(np.radians(44))]))
    width = 0.1 * wavelength / WAVELENGTH
    return np.exp(-(((x[:, None] - angles) / width) ** 2)).sum(axis=1)


def forest(kind: str, grid: tuple[float, float, int] = GRID, seed: int = 0) -> Forest:
    """Trained on 40 cubic and 40 tetragonal lattices."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([CUBIC, TETRAGONAL], 40)
    lengths = rng.uniform(4.0, 6.0, len(labels))
    ratios = np.where(labels == CUBIC, 1.0, rng.uniform(1.15, 1.5, len(labels)))
    x = grid[0] + grid[1] * np.arange(grid[2])
    patterns = np.array([lattice_pattern(a, a * ratio, x) for a, ratio in zip(lengths, ratios, strict=True)])
    settings = ForestSettings(kind=kind, trees=30)  # type: ignore[arg-type]
    rows = ForestRows.of(find_peak_table(patterns, x, NOISY).features(settings.kind), labels)
    return Forest(
        ForestInfo(CRYSTAL_SYSTEMS, grid, WAVELENGTH, settings, NOISY, "made for a test", {"cubic": 40}),
        _grown(rows, settings),
    )


def _grown(rows: ForestRows, settings: ForestSettings) -> object:
    with tempfile.TemporaryDirectory() as folder, InlineExecutor() as executor:
        return train_forest(executor, rows, settings, Path(folder))


def measured(
    a: float, c: float, wavelength: float = WAVELENGTH, end: float = 89.0, counts: float = 2000.0, seed: int = 7
) -> tuple[np.ndarray, np.ndarray]:
    """A pattern with counting noise over a sloping background, at other points than the models' grid."""
    x = np.arange(4.0 if wavelength < 1 else 8.0, end, 0.02)
    mean = counts * (lattice_pattern(a, c, x, wavelength) + 0.08 + 0.0015 * (90 - x))
    return x, np.random.default_rng(seed).poisson(mean).astype(float)


def frames(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """2θ, and n frames that are by turns of a cube and of a longer cell, which grow along the series."""
    made = [measured(5.0 + 0.1 * k / n, (5.0, 6.6)[k % 2] * (1 + 0.02 * k / n), seed=k) for k in range(n)]
    return made[0][0], np.array([y for _, y in made])


def write_stack(
    path: Path, x: NDArray[np.float64], y: NDArray[np.float64], name: str = "two_theta", unit: str = "deg"
) -> Path:
    """A stack with temperature along its frames; the abscissa has no unit where that is empty."""
    with h5py.File(path, "w") as file:
        data = file.create_group("entry/data")
        data.attrs.update({"NX_class": "NXdata", "signal": "counts", "axes": ["temperature", name]})
        data["counts"], data[name], data["temperature"] = y, x, 300.0 + np.arange(len(y))
        data["temperature"].attrs["units"] = "K"
        if unit:
            data[name].attrs["units"] = unit
    return path


def write_columns(path: Path, x: np.ndarray, y: np.ndarray, head: str = "") -> Path:
    """A text file of two columns."""
    path.write_text(head + "".join(f"{a:.5f} {b:.3f}\n" for a, b in zip(x, y, strict=True)))
    return path
