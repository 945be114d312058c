"""All that was found of an archive as tables: one row a frame, and one row a point of the component curves."""

import io
from typing import Any

import numpy as np

from hpc_mlsm.report.archive_answer import VERDICTS, ArchiveAnswer
from hpc_mlsm.report.archive_values import refined_values

LISTED = 3
"""Candidates of a frame that the tables list; the NeXus file has all."""


def frames_table(answer: ArchiveAnswer) -> Any:
    """One row a frame (pyarrow): verdict, candidates, weights, refined values with ``_su``, their uncertainties.

    Columns of refined values are named ``parameter [structure id]``; their units are in the schema's metadata.
    """
    import pyarrow as pa

    labels = np.array([answer.label(place) for place in range(len(answer.classes))] + [""], dtype=object)
    ids = np.array([one.class_id for one in answer.classes] + [""], dtype=object)
    columns: dict[str, Any] = {"frame": np.arange(answer.n), "name": list(answer.names)}
    if answer.axis.name not in columns:
        columns[answer.axis.name] = answer.axis.values
    columns["verdict"] = np.array(VERDICTS, dtype=object)[answer.verdict]
    columns["reason"] = list(answer.reason)
    for rank in range(min(LISTED, answer.k)):
        columns[f"candidate_{rank + 1}"] = labels[answer.top[:, rank]]
        columns[f"class_id_{rank + 1}"] = ids[answer.top[:, rank]]
        columns[f"probability_{rank + 1}"] = answer.probability[:, rank]
    units: dict[str, str] = {answer.axis.name: answer.axis.unit}
    found = answer.decomposition
    if found is not None:
        for number in range(found.weights.shape[1]):
            columns[f"weight_{number + 1}"] = _spread(found.weights[:, number], answer)
        if found.stretch is not None:
            for number in range(found.stretch.shape[1]):
                columns[f"stretch_{number + 1}"] = _spread(found.stretch[:, number], answer)
        columns["not_described"] = _spread(found.left, answer)
    if answer.fits is not None:
        fits = answer.fits
        columns |= {"fit": fits.kind, "refined": fits.phases, "r_w": fits.r_w, "doubtful_fit": fits.doubtful}
        columns["fit_notes"] = [
            "; ".join(filter(None, map(str, two))) for two in zip(fits.reason, fits.notes, strict=True)
        ]
        for one in refined_values(fits, answer.classes):
            key = f"{one.name} [{one.structure_id}]"
            columns[key], columns[f"{key}_su"] = one.values, one.errors
            units[key] = one.unit
    metadata = answer.provenance | {f"unit.{key}": unit for key, unit in units.items() if unit}
    metadata["calibrated"] = str(answer.calibrated).lower()
    return pa.table({key: pa.array(value) for key, value in columns.items()}).replace_schema_metadata(metadata)


def components_table(answer: ArchiveAnswer) -> Any:
    """r (Å) or 2θ (degree), and the curve of each component (Å⁻², or intensity), one row a point."""
    import pyarrow as pa

    found = answer.decomposition
    assert found is not None
    curves = {f"component_{number}": curve for number, curve in enumerate(found.components.curves, start=1)}
    return pa.table({answer.plotted.abscissa: answer.grid} | curves)


def csv_bytes(table: Any) -> bytes:
    """A table as CSV."""
    import pyarrow.csv as pc

    stream = io.BytesIO()
    pc.write_csv(table, stream)
    return stream.getvalue()


def parquet_bytes(table: Any) -> bytes:
    """A table as Parquet."""
    import pyarrow.parquet as pq

    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()


def _spread(values: "np.ndarray", answer: ArchiveAnswer) -> "np.ndarray":
    """Values of the used frames on all frames."""
    spread = np.full(answer.n, np.nan)
    spread[answer.used] = values
    return spread
