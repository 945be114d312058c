"""Reading chosen rows of one shard, after making sure that it is the shard that the index speaks of."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import StoreError
from hpc_mlsm.store.layout import H5_ERRORS, check_format, get_text, read_axis
from hpc_mlsm.store.schema import Axis
from hpc_mlsm.store.shard import REDO, damaged, open_shard

LIVE = np.dtype(
    [
        ("shard", np.int64),
        ("structure", np.int64),
        ("position", np.int64),
        ("first_row", np.int64),
        ("n_rows", np.int64),
        ("digest", "S32"),
    ]
)
"""One structure as the index knows it: the fields of ``StructureRows``, with numbers for shard and structure."""


class ShardReader:
    """An open shard. ``live`` (dtype ``LIVE``) holds those of its structures that are about to be read.

    Raises
    ------
    StoreError
        Here and from every method, if the shard is damaged, missing or another one than the index lists.
    """

    def __init__(self, path: Path, live: NDArray[np.void], order: Sequence[str]) -> None:
        self._path = path
        self._file = open_shard(path)
        try:
            with self._damage():
                check_format(self._file, path)
                self._entry = self._file["entry"]
                self._signal = get_text(self._entry["patterns"], "signal")
                self._check(live, order)
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def axis(self) -> Axis:
        """The grid."""
        with self._damage():
            return read_axis(self._file)

    def signal(self) -> tuple[str, str, int]:
        """Name and unit of what is plotted, and the number of rows that the shard has."""
        with self._damage():
            dataset = self._entry["patterns"][self._signal]
            return self._signal, get_text(dataset, "units"), len(dataset)

    def base(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Base patterns of the structures at these positions, shape (len(positions), n)."""
        with self._damage():
            values: NDArray[np.float32] = self._entry["base"][self._signal][:][positions]
        return values

    def patterns(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Patterns of these rows, which must ascend, shape (len(rows), n)."""
        with self._damage():
            dataset = self._entry["patterns"][self._signal]
            values = np.empty((len(rows), dataset.shape[1]), dtype=np.float32)
            for start, stop in runs(rows):
                values[start:stop] = dataset[rows[start] : rows[stop - 1] + 1]
        return values

    def variants(self) -> NDArray[np.int64]:
        """Number of each row's variant within its structure, shape (all rows of the shard,)."""
        with self._damage():
            values: NDArray[np.int64] = self._entry["parameters/variant"][:]
        return values

    def parameters(self) -> dict[str, NDArray[np.float64]]:
        """Variant parameters by name, each of shape (all rows of the shard,)."""
        with self._damage():
            found = self._entry["parameters"].items()
            return {name: dataset[:] for name, dataset in found if name != "variant"}

    def _check(self, live: NDArray[np.void], order: Sequence[str]) -> None:
        table = self._entry["structures"]
        ids, digests, offsets = table["id"].asstr()[:], table["digest"][:], table["offsets"][:]
        positions = live["position"]
        same = (
            (ids[positions] == np.array([order[k] for k in live["structure"]], dtype=object))
            & (digests[positions] == live["digest"])
            & (offsets[positions] == live["first_row"])
            & (offsets[positions + 1] - offsets[positions] == live["n_rows"])
        )
        if not same.all():
            raise StoreError(f"{self._path} does not hold what the index says: {REDO}")

    @contextmanager
    def _damage(self) -> Iterator[None]:
        try:
            yield
        except H5_ERRORS as error:
            raise damaged(self._path, error) from error


def runs(rows: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Spans start:stop of ``rows`` within which each row follows the one before it."""
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    edges = [0, *breaks.tolist(), len(rows)] if len(rows) else [0]
    yield from pairwise(edges)


def rows_of(live: NDArray[np.void]) -> NDArray[np.int64]:
    """Rows of these structures, one structure after the other."""
    counts = live["n_rows"]
    starts = np.cumsum(counts) - counts
    rows: NDArray[np.int64] = np.arange(counts.sum()) - np.repeat(starts - live["first_row"], counts)
    return rows
