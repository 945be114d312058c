"""The series of frames that is to be refined, as one file: curves on the grid of the fit, candidates, structures."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.durable import write_durably
from hpc_mlsm.errors import StoreError
from hpc_mlsm.refinement.chain import Phases
from hpc_mlsm.scattering.conditions import PdfGrid
from hpc_mlsm.structures.structure import Structure

SCHEMA = 1
NO_CANDIDATE = -1


@dataclass(frozen=True, eq=False)
class Series:
    """Frames to refine.

    Attributes
    ----------
    grid
        Points of the fit, Å.
    q_range
        Of the measurement, Å⁻¹.
    values
        G(r) of each frame, shape (n, points).
    names
        Of the frames.
    structures
        By id.
    phases
        All candidates: ids of the structures that each is made of.
    candidates
        Of each frame, indices into ``phases``, the likeliest first, shape (n, k); -1 where there are fewer.
    components, component_candidates
        Curves of a decomposition (c, points) and their candidates (c, k); may be none.
    coordinate, coordinate_name, coordinate_unit
        What the series goes along, such as temperature; NaN where unknown.
    """

    grid: PdfGrid
    q_range: tuple[float, float]
    values: NDArray[np.float32]
    names: tuple[str, ...]
    structures: dict[str, Structure]
    phases: tuple[Phases, ...]
    candidates: NDArray[np.int64]
    components: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    component_candidates: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))
    coordinate: NDArray[np.float64] | None = None
    coordinate_name: str = "frame"
    coordinate_unit: str = ""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def fingerprint(self) -> str:
        """Another one for other curves, candidates or structures."""
        digest = hashlib.sha256(repr((self.grid, self.q_range, self.phases, self.values.shape)).encode())
        for array in (self.values, self.candidates, self.components, self.component_candidates):
            digest.update(np.ascontiguousarray(array).tobytes())
        for key in sorted(self.structures):
            digest.update(f"{key} {self.structures[key].content_hash}".encode())
        return digest.hexdigest()[:16]

    def fingerprint_of(self, phases: Phases) -> str:
        """Another one for other structures of the same ids."""
        return " ".join(self.structures[key].content_hash for key in phases)

    def candidates_of(self, indices: NDArray[np.int64]) -> list[Phases]:
        """The candidates that a row of indices names."""
        return [self.phases[int(k)] for k in indices if k != NO_CANDIDATE]


def write_series(path: Path, series: Series) -> None:
    """Write a series as HDF5; the file appears only when it is whole.

    Raises
    ------
    StoreError
        If arrays do not fit each other, or the file cannot be written.
    """
    n = len(series.names)
    if series.values.shape != (n, len(series.grid)) or len(series.candidates) != n:
        raise StoreError(
            f"{path}: {n} names, curves of shape {series.values.shape} and candidates of shape "
            f"{series.candidates.shape} do not fit a grid of {len(series.grid)} points; one row a frame is needed"
        )
    about = {
        "schema": SCHEMA,
        "grid": [series.grid.r_min, series.grid.r_max, series.grid.r_step],
        "q_range": series.q_range,
        "phases": series.phases,
        "structures": {key: one.to_json() for key, one in series.structures.items()},
        "coordinate": [series.coordinate_name, series.coordinate_unit],
        "fingerprint": series.fingerprint,
    }
    with h5py.File("series", "w", driver="core", backing_store=False) as file:
        file["about"] = json.dumps(about)
        file["values"] = series.values.astype(np.float32)
        file["candidates"] = series.candidates
        file["components"] = series.components
        file["component_candidates"] = series.component_candidates
        file["coordinate"] = np.full(n, np.nan) if series.coordinate is None else series.coordinate
        file.create_dataset("names", data=np.array(series.names, dtype=object), dtype=h5py.string_dtype())
        file.flush()
        image = file.id.get_file_image()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, image)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except (OSError, KeyError) as error:
        raise StoreError(f"{path}: the series to refine cannot be read ({error}); make it anew") from error


def read_series(path: Path, first: int = 0, last: int | None = None) -> Series:
    """A series, or its frames from ``first`` up to ``last``.

    Raises
    ------
    StoreError
        If the file is missing, damaged, or of another version.
    """
    with _opened(path) as file:
        about = json.loads(file["about"][()])
        if about["schema"] != SCHEMA:
            raise StoreError(f"{path}: series of schema {about['schema']}, this program reads {SCHEMA}; make it anew")
        part = slice(first, last)
        return Series(
            grid=PdfGrid(*about["grid"]),
            q_range=(float(about["q_range"][0]), float(about["q_range"][1])),
            values=file["values"][part],
            names=tuple(file["names"].asstr()[part]),
            structures={key: Structure.from_json(text) for key, text in about["structures"].items()},
            phases=tuple(tuple(one) for one in about["phases"]),
            candidates=file["candidates"][part],
            components=file["components"][()],
            component_candidates=file["component_candidates"][()],
            coordinate=file["coordinate"][part],
            coordinate_name=about["coordinate"][0],
            coordinate_unit=about["coordinate"][1],
        )
