"""Archives that are one stack of frames in an HDF5 or NeXus file; read in slices, never whole."""

import hashlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import h5py
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.archive_settings import ArchiveSettings
from hpc_mlsm.archive.frames import ArchiveIndex, ArchiveKind, Curves, FrameBlock, FrameReject, Variable
from hpc_mlsm.archive.headers import axis_of_name, unit_of_text
from hpc_mlsm.archive.pattern import Axis, Pattern
from hpc_mlsm.archive.stack import H5_ERRORS, StackPlace, find_stack, open_stack, read_vector, split_address, text_of
from hpc_mlsm.archive.text_archive import AXIS_OF_UNIT, kind_of
from hpc_mlsm.errors import PatternError

BACK_STEP = 256
"""Frames at the end of a stack that are looked at together for whether they are written yet."""


def index_stack(address: str, settings: ArchiveSettings, assumed: ArchiveKind | None = None) -> ArchiveIndex:
    """The index of a stack named as ``file.h5::/entry/data``, or of the one that a NeXus file shows by default.

    Frames at the end that are not written yet are left out, and noted.

    Raises
    ------
    PatternError
        What ``open_stack`` and ``find_stack`` raise; "unknown_kind", and "empty" for a stack without frames.
    """
    path, dataset = split_address(address)
    with open_stack(path) as file:
        place = find_stack(file, dataset, settings.abscissa, str(path))
        try:
            return _index(file, address, place, settings, assumed)
        except H5_ERRORS as error:
            raise _damaged(path, place.signal, error) from error


def read_stack(index: ArchiveIndex, start: int, stop: int) -> FrameBlock:
    """Read consecutive frames of a stack; one that is not finite or constant becomes a reject."""
    path, _ = split_address(index.source)
    with open_stack(path) as file:
        try:
            x = read_vector(file, index.abscissa)
            y = _rows(file[index.dataset], start, stop)
            metadata = _metadata(file, index)
        except H5_ERRORS as error:
            raise _damaged(path, index.dataset, error) from error
    frames = np.arange(start, start + len(y), dtype=np.int64)
    order = slice(None) if x[0] < x[-1] else slice(None, None, -1)
    x, y = x[order], y[:, order]
    finite = np.asarray(np.isfinite(y).all(axis=1))
    usable = finite & (y.max(axis=1, initial=-np.inf) > y.min(axis=1, initial=np.inf))
    rejects = [_reject(index, int(frames[row]), y[row], bool(finite[row])) for row in np.flatnonzero(~usable)]
    name = index.name(start)
    like = Pattern(name, x, y[0] if len(y) else x, index.axis, index.unit, None, metadata, name)
    curves = (Curves(frames[usable], y[usable], like),) if usable.any() else ()
    return FrameBlock(curves, tuple(rejects))


def _index(
    file: h5py.File, address: str, place: StackPlace, settings: ArchiveSettings, assumed: ArchiveKind | None
) -> ArchiveIndex:
    signal, where = file[place.signal], f"{address}"
    axis, unit = _axis_and_unit(file[place.abscissa])
    if settings.unit != "auto":
        axis, unit = AXIS_OF_UNIT[settings.unit], settings.unit
    _check_abscissa(read_vector(file, place.abscissa), place.abscissa, where)
    shape = signal.shape[:-1]
    there = int(np.prod(shape))
    written = _written(signal, there)
    notes = (f"{there - written} of {there} frames are not written yet and were left out",) if written < there else ()
    if written == 0:
        raise PatternError("empty", f"{where}: {place.signal} holds no frame that is written; nothing can be read yet")
    return ArchiveIndex(
        source=f"{split_address(address)[0]}::{place.signal}",
        form="stack",
        kind=kind_of(axis, unit, settings, assumed, where),
        n_frames=written,
        axis=axis,
        unit=unit,
        unit_given=settings.unit != "auto",
        dataset=place.signal,
        abscissa=place.abscissa,
        shape=tuple(shape) if written == there else (written,),
        variables=_variables(file, place, shape, written),
        synthetic=text_of(signal, "synthetic"),
        notes=notes,
    )


def _check_abscissa(x: NDArray[np.float64], name: str, where: str) -> None:
    steps = np.diff(x)
    if not np.isfinite(x).all() or not ((steps > 0).all() or (steps < 0).all()):
        raise PatternError(
            "descending",
            f"{where}: the abscissa {name} is not ascending throughout (or not finite); mend it in the file",
        )


def _axis_and_unit(dataset: h5py.Dataset) -> tuple[Axis | None, str | None]:
    name = PurePosixPath(dataset.name).name
    words = text_of(dataset, "units") or text_of(dataset, "unit")
    unit = unit_of_text(words)
    axis = axis_of_name(name) or axis_of_name(text_of(dataset, "long_name").split("(")[0].split("[")[0].strip())
    if axis is None and unit is not None:
        axis = AXIS_OF_UNIT[unit]
    return axis, unit


def _variables(file: h5py.File, place: StackPlace, shape: tuple[int, ...], written: int) -> tuple[Variable, ...]:
    found = []
    for dimension, name in enumerate(place.along):
        if name:
            along = read_vector(file, name)
            spread = np.broadcast_to(along.reshape([-1 if d == dimension else 1 for d in range(len(shape))]), shape)
            found.append(_variable(file[name], spread.ravel()[:written]))
    found += [_variable(file[name], read_vector(file, name, written)) for name in place.beside]
    return tuple(found)


def _variable(dataset: h5py.Dataset, values: NDArray[np.float64]) -> Variable:
    unit = text_of(dataset, "units") or text_of(dataset, "unit")
    return Variable(PurePosixPath(dataset.name).name, unit, np.array(values, dtype=np.float64))


def _written(signal: h5py.Dataset, there: int) -> int:
    """How many frames from the beginning are there: what the writer has not reached holds the fill value throughout."""
    fill = signal.fillvalue
    stop = there
    while stop > 0:
        start = max(0, stop - BACK_STEP)
        y = _rows(signal, start, stop)
        empty = (np.isnan(y) | (y == float(fill))).all(axis=1)
        if not empty.all():
            return start + int(np.flatnonzero(~empty)[-1]) + 1
        stop = start
    return 0


def _rows(signal: h5py.Dataset, start: int, stop: int) -> NDArray[np.float64]:
    """Frames by their number in a stack of any number of dimensions, shape (n, points)."""
    points = signal.shape[-1]
    if signal.ndim == 2:
        return np.asarray(signal[start:stop], dtype=np.float64)
    per_row = int(np.prod(signal.shape[1:-1]))
    first, last = start // per_row, -(-stop // per_row)
    block = np.asarray(signal[first:last], dtype=np.float64).reshape(-1, points)
    return block[start - first * per_row : stop - first * per_row]


def _metadata(file: h5py.File, index: ArchiveIndex) -> dict[str, str | float]:
    """What the signal's attributes say of the measurement."""
    signal, abscissa = file[index.dataset], file[index.abscissa]
    words = (PurePosixPath(index.abscissa).name, text_of(abscissa, "units") or text_of(abscissa, "unit"))
    found: dict[str, str | float] = {"x_label": " ".join(filter(None, words))}
    for key, names in (("q_max", ("q_max", "qmax")), ("q_min", ("q_min", "qmin")), ("wavelength", ("wavelength",))):
        value = next((signal.attrs[name] for name in names if name in signal.attrs), None)
        if value is not None and np.ndim(value) == 0 and np.isfinite(float(value)):
            found[key] = float(value)
    if unit_of_text(text_of(signal, "units").replace("^2", "").replace("²", "")) == "1/nm" and index.kind == "pdf":
        found["y_unit"] = "1/nm^2"
    return found


def _reject(index: ArchiveIndex, frame: int, y: NDArray[np.float64], finite: bool) -> FrameReject:
    name = index.name(frame)
    if not finite:
        bad = int((~np.isfinite(y)).sum())
        detail = f"{name}: {bad} of {len(y)} points are not finite; reduce this frame again"
        return FrameReject(frame, "not_finite", detail)
    detail = f"{name}: the signal is {y[0]:g} at all {len(y)} points; there is no pattern in it"
    return FrameReject(frame, "constant", detail)


def _damaged(path: Path, dataset: str, error: Exception) -> PatternError:
    return PatternError(
        "damaged",
        f"{path}: {dataset} cannot be read ({error}); the file is damaged, or being written: copy it again, or wait",
    )


def stack_hash(index: ArchiveIndex) -> Callable[[int, int], str]:
    """Gives a hash of abscissa and of the first, the middle and the last of some frames; see ``opening.frame_hash``."""
    path, _ = split_address(index.source)
    with open_stack(path) as file:
        common = read_vector(file, index.abscissa).tobytes()

    def of_frames(start: int, stop: int) -> str:
        whole = hashlib.blake2b(common, digest_size=16)
        whole.update(repr((index.dataset, start, stop)).encode())
        with open_stack(path) as file:
            signal = file[index.dataset]
            try:
                for frame in sorted({start, (start + stop) // 2, stop - 1}):
                    whole.update(_rows(signal, frame, frame + 1).tobytes())
            except H5_ERRORS as error:
                raise _damaged(path, index.dataset, error) from error
        return whole.hexdigest()

    return of_frames
