"""Fits of a series as tables (CSV, Parquet) and as a NeXus file, which silx view and H5Web open as plots."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.durable import write_durably
from hpc_mlsm.refinement.gathered import GatheredFits
from hpc_mlsm.refinement.series import Series

_UNITS = {"Å": "angstrom", "Å²": "angstrom^2", "Å⁻¹": "1/angstrom", "°": "degree", "": ""}


def write_results(folder: Path, series: Series, found: GatheredFits, provenance: Mapping[str, str]) -> None:
    """Write ``refinement.csv``, ``refinement.parquet`` and ``refinement.nxs``, one row a frame.

    Raises
    ------
    StoreError
        If a file cannot be written.
    """
    table = results_table(series, found, provenance)
    write_durably(folder / "refinement.csv", _csv(table))
    write_durably(folder / "refinement.parquet", _parquet(table))
    write_durably(folder / "refinement.nxs", _nexus(series, found, provenance))


def results_table(series: Series, found: GatheredFits, provenance: Mapping[str, str]) -> Any:
    """One row a frame (pyarrow): what was fitted, r_w, and values with ``_su``, their standard uncertainties."""
    import pyarrow as pa

    columns: dict[str, Any] = {"frame": np.arange(len(series)), "name": list(series.names)}
    if series.coordinate is not None and np.isfinite(series.coordinate).any():
        columns[series.coordinate_name] = series.coordinate
    columns |= {name: getattr(found, name) for name in ("phases", "kind", "r_w", "converged", "reason", "fits")}
    for key, values in found.values.items():
        columns[key] = values
        columns[f"{key}_su"] = found.uncertainties[key]
    columns |= {"doubtful": found.doubtful, "notes": found.notes}
    units = {f"unit.{key}": _UNITS[unit] for key, unit in found.units.items() if unit}
    metadata = {f"hpc_mlsm.{key}": value for key, value in provenance.items()} | units
    return pa.table({key: pa.array(value) for key, value in columns.items()}).replace_schema_metadata(metadata)


def _csv(table: Any) -> bytes:
    import pyarrow.csv as pc

    stream = io.BytesIO()
    pc.write_csv(table, stream)
    return stream.getvalue()


def _parquet(table: Any) -> bytes:
    import pyarrow.parquet as pq

    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()


def _nexus(series: Series, found: GatheredFits, provenance: Mapping[str, str]) -> bytes:
    with h5py.File("refinement", "w", driver="core", backing_store=False) as file:
        file.attrs.update({"creator": "hpc_mlsm", "default": "entry"})
        entry = _group(file, "entry", "NXentry")
        entry.attrs["default"] = "r_w"
        entry["title"] = f"Refinement of {len(series)} frames"
        along = _along(series)
        _plot(entry, "r_w", {"r_w": (found.r_w, "")}, along)
        for key, values in found.values.items():
            unit = _UNITS[found.units[key]]
            name = key.replace(":", "_phase_")
            _plot(entry, name, {name: (values, unit), f"{name}_errors": (found.uncertainties[key], unit)}, along)
        curves = {
            "measured": (series.values, "1/angstrom^2"),
            "calculated": (found.calculated, "1/angstrom^2"),
            "difference": (series.values - found.calculated, "1/angstrom^2"),
        }
        _plot(entry, "curves", curves, along | {"r": (series.grid.r, "angstrom")})
        frames = _group(entry, "frames", "NXcollection")
        for name in ("kind", "phases", "reason", "notes"):
            frames.create_dataset(name, data=getattr(found, name), dtype=h5py.string_dtype())
        frames.create_dataset("name", data=np.array(series.names, dtype=object), dtype=h5py.string_dtype())
        for name in ("fits", "converged", "doubtful"):
            frames[name] = getattr(found, name)
        process = _group(entry, "process", "NXprocess")
        process["program"] = "hpc_mlsm"
        notes = _group(process, "provenance", "NXcollection")
        for key, value in provenance.items():
            notes[key] = value
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


def _along(series: Series) -> dict[str, tuple[NDArray[np.generic], str]]:
    """The axis of the series: its coordinate where that is known and ascending, or else the number of the frame."""
    x = series.coordinate
    if x is not None and np.isfinite(x).all() and len(x) > 1 and (np.diff(x) > 0).all():
        return {series.coordinate_name: (x, series.coordinate_unit)}
    return {"frame": (np.arange(len(series)), "")}


def _group(parent: h5py.Group, name: str, nx_class: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    return group


def _plot(
    parent: h5py.Group,
    name: str,
    signals: Mapping[str, tuple[NDArray[np.generic], str]],
    axes: Mapping[str, tuple[NDArray[np.generic], str]],
) -> None:
    """A group that viewers plot: the first signal, against the axes."""
    group = _group(parent, name, "NXdata")
    first, *others = signals
    group.attrs["signal"] = first
    others = [one for one in others if not one.endswith("_errors")]
    if others:
        group.attrs["auxiliary_signals"] = others
    group.attrs["axes"] = list(axes)
    for position, (axis, (values, unit)) in enumerate(axes.items()):
        group[axis] = values
        group.attrs[f"{axis}_indices"] = position
        if unit:
            group[axis].attrs["units"] = unit
    for signal, (values, unit) in signals.items():
        packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if values.ndim > 1 else {}
        group.create_dataset(signal, data=values, **packed)
        if unit:
            group[signal].attrs["units"] = unit
