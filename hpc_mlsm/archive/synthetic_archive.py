"""Archives of known composition: simulated, not measured, and labelled so.

A crystallisation: an amorphous start, from which a first phase grows and then a second that takes its place, both as
spherical particles whose diameter grows. With x the time from 0 to 1, and k rising from 0 to 1 as Avrami's
1 - exp(-((x - x₀) / w)³) from x₀ on:

    amorphous 1 - k₁(x),  first phase k₁(x) (1 - k₂(x)),  second phase k₁(x) k₂(x)

    G = Σ shares · G of each phase · the envelope of its diameter + noise

The amorphous pattern is that of the first phase with the order of a sphere of 7 Å and a displacement of 0.03 Å².
The truth is kept in the file, as ``/entry/truth``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.durable import sync_folder, write_error
from hpc_mlsm.errors import ConfigError
from hpc_mlsm.scattering.conditions import PdfConditions, PdfGrid
from hpc_mlsm.scattering.engines import native_engine
from hpc_mlsm.scattering.pdf import envelope
from hpc_mlsm.structures.structure import Structure

PHASES = ("amorphous", "first", "second")
DATASET = "/entry/data/G"
AMORPHOUS_DIAMETER, AMORPHOUS_U_ISO = 7.0, 0.03
SMALLEST, LARGEST = 25.0, 120.0
"""Diameters (Å) with which a phase appears and ends."""

BLOCK_ROWS = 4096


@dataclass(frozen=True)
class Crystallisation:
    """What a synthetic archive is made with.

    Attributes
    ----------
    frames
        How many.
    noise
        Standard deviation of the noise, as a share of that of the second phase's pattern.
    u_iso, q_damp, q_min, q_max
        Of the crystalline phases and the instrument: Å², Å⁻¹.
    starts, widths
        When (0 to 1) either phase begins to grow, and how long that takes.
    minutes
        How long the series lasts.
    """

    frames: int = 1000
    grid: PdfGrid = field(default_factory=PdfGrid)
    noise: float = 0.05
    u_iso: float = 0.008
    q_damp: float = 0.03
    q_min: float = 0.5
    q_max: float = 23.0
    starts: tuple[float, float] = (0.15, 0.5)
    widths: tuple[float, float] = (0.12, 0.15)
    minutes: float = 600.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.frames < 2 or self.noise < 0:
            raise ConfigError(f"found {self.frames} frames with noise {self.noise}; needed: 2 at least, and 0 at least")

    @property
    def places(self) -> NDArray[np.float64]:
        """Time of each frame from 0 to 1."""
        return np.linspace(0, 1, self.frames)

    def shares(self) -> NDArray[np.float64]:
        """Shares (frames, 3) of amorphous, first and second phase, which sum to one."""
        first, second = (
            1 - np.exp(-(np.clip((self.places - start) / width, 0, None) ** 3))
            for start, width in zip(self.starts, self.widths, strict=True)
        )
        return np.stack([1 - first, first * (1 - second), first * second], axis=1)

    def diameters(self) -> NDArray[np.float64]:
        """Diameters (frames, 2) of the crystalline phases, Å."""
        since = np.clip((self.places[:, None] - np.array(self.starts)) / np.array(self.widths), 0, 2) / 2
        return np.asarray(SMALLEST + (LARGEST - SMALLEST) * since)


def phase_curves(structures: Sequence[Structure], what: Crystallisation) -> NDArray[np.float64]:
    """G(r) of the amorphous, the first and the second phase, shape (3, points); the crystals without a size."""

    def curve(structure: Structure, u_iso: float, diameter: float) -> NDArray[np.float64]:
        conditions = PdfConditions.uniform(
            1, u_iso=u_iso, q_damp=what.q_damp, q_min=what.q_min, q_max=what.q_max, diameter=diameter
        )
        return np.asarray(native_engine(structure, np.ones((1, 3)), conditions, what.grid)[0])

    first, second = structures
    amorphous = curve(first, AMORPHOUS_U_ISO, AMORPHOUS_DIAMETER)
    return np.array([amorphous, curve(first, what.u_iso, 0.0), curve(second, what.u_iso, 0.0)])


def synthetic_rows(curves: NDArray[np.float64], what: Crystallisation, start: int, stop: int) -> NDArray[np.float32]:
    """Frames ``start`` to ``stop`` (not included); the same whatever the slices in which they are asked for."""
    shares, diameters = what.shares()[start:stop], what.diameters()[start:stop]
    n = stop - start
    values = shares[:, :1] * curves[0]
    for phase in (0, 1):
        sizes = PdfConditions.uniform(n, u_iso=what.u_iso)
        sizes.diameter[:] = diameters[:, phase]
        values += shares[:, phase + 1, None] * curves[phase + 1] * envelope(what.grid.r, sizes)
    scale = what.noise * curves[2].std()
    for row in range(n):
        values[row] += scale * np.random.default_rng([what.seed, start + row]).normal(size=len(what.grid))
    return values.astype(np.float32)


def write_synthetic_archive(path: Path, structures: Sequence[Structure], what: Crystallisation) -> Path:
    """Write a synthetic archive as one NeXus file of frames over time, with its truth.

    Parameters
    ----------
    path : Path
        HDF5 file to write; it appears only when it is whole.
    structures : sequence of Structure
        The first and the second crystalline phase.
    what : Crystallisation

    Raises
    ------
    StoreError
        If the file cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(part, "w") as file:
            _fill(file, structures, what)
        part.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise write_error(path, error, 4 * what.frames * len(what.grid)) from error
    return path


def _fill(file: h5py.File, structures: Sequence[Structure], what: Crystallisation) -> None:
    curves = phase_curves(structures, what)
    names = ["amorphous", *(f"{one.formula} ({one.space_group_symbol})" for one in structures)]
    file.attrs["default"] = "entry"
    entry = file.create_group("entry")
    entry.attrs.update({"NX_class": "NXentry", "default": "data"})
    about = "simulated, not measured: crystallisation of " + " and ".join(names[1:])
    entry["title"] = f"Synthetic archive ({about})"
    data = entry.create_group("data")
    data.attrs.update({"NX_class": "NXdata", "signal": "G", "axes": ["time", "r"], "time_indices": 0, "r_indices": 1})
    data["time"] = what.minutes * what.places
    data["time"].attrs["units"] = "min"
    data["r"] = what.grid.r
    data["r"].attrs["units"] = "angstrom"
    shape = what.frames, len(what.grid)
    signal = data.create_dataset("G", shape, "f4", chunks=(min(256, what.frames), shape[1]))
    signal.attrs.update({"units": "1/angstrom^2", "long_name": "G(r)", "q_min": what.q_min, "q_max": what.q_max})
    signal.attrs["synthetic"] = about
    for start in range(0, what.frames, BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, what.frames)
        signal[start:stop] = synthetic_rows(curves, what, start, stop)
    truth = entry.create_group("truth")
    truth.attrs["NX_class"] = "NXcollection"
    truth["names"] = names
    truth["structure_ids"] = [one.id for one in structures]
    truth["shares"], truth["diameters"], truth["curves"] = what.shares(), what.diameters(), curves
