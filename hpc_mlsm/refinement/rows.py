"""Fits of frames as rows of a table, and one table as a shard: a Parquet file whose pages carry checksums."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpc_mlsm.durable import write_durably
from hpc_mlsm.errors import StoreError
from hpc_mlsm.refinement.chain import FrameFit

SEPARATOR = " + "
"""Between the ids of phases that were refined together."""


_LISTS = ("keys", "units", "values", "uncertainties", "at_bound", "calculated")


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema(
        [
            ("frame", pa.int64()),
            ("kind", pa.string()),
            ("phases", pa.string()),
            ("r_w", pa.float64()),
            ("converged", pa.bool_()),
            ("reason", pa.string()),
            ("fits", pa.int32()),
            ("doubtful", pa.bool_()),
            ("notes", pa.string()),
            ("keys", pa.list_(pa.string())),
            ("units", pa.list_(pa.string())),
            ("values", pa.list_(pa.float64())),
            ("uncertainties", pa.list_(pa.float64())),
            ("at_bound", pa.list_(pa.bool_())),
            ("calculated", pa.list_(pa.float32())),
        ]
    )


def row_of(one: FrameFit, first: int) -> dict[str, Any]:
    """A fit as a row; frames are counted from ``first``."""
    fit = one.fit
    if fit is None:
        empty: dict[str, Any] = {key: [] for key in _LISTS}
        return empty | {
            "frame": first + one.index,
            "kind": one.kind,
            "phases": "",
            "r_w": np.nan,
            "converged": False,
            "reason": one.reason,
            "fits": one.fits,
            "doubtful": one.doubtful,
            "notes": one.detail,
        }
    return {
        "frame": first + one.index,
        "kind": one.kind,
        "phases": SEPARATOR.join(fit.structure_ids),
        "r_w": fit.r_w,
        "converged": fit.converged,
        "reason": fit.reason,
        "fits": one.fits,
        "doubtful": one.doubtful,
        "notes": "; ".join(fit.notes),
        "keys": [value.key for value in fit.parameters],
        "units": [value.unit for value in fit.parameters],
        "values": [value.value for value in fit.parameters],
        "uncertainties": [value.uncertainty for value in fit.parameters],
        "at_bound": [value.at_bound for value in fit.parameters],
        "calculated": fit.calculated.astype(np.float32).tolist(),
    }


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows as one file, which appears only when it is whole.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = io.BytesIO()
    table = pa.Table.from_pylist(list(rows), schema=_schema())
    pq.write_table(table, stream, compression="zstd", write_page_checksum=True)
    write_durably(path, stream.getvalue())


def read_table(path: Path) -> Any:
    """The table (pyarrow) of a file, its checksums verified.

    Raises
    ------
    StoreError
        If it is missing, cut short or altered.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path, page_checksum_verification=True).read()
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path}: results of refinement cannot be read ({error}); refine again") from error
