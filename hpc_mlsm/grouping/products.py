"""Where matrix products are computed and searched: the processor, or a GPU by CuPy. Chosen here and nowhere else."""

import os
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import ConfigError

Device = Literal["auto", "cpu", "cuda"]


class Products(Protocol):
    """Computes the product of two sets of vectors, and finds in it what is high.

    Products must be those of float32 throughout, in whatever order they are summed.
    """

    tile_rows: int
    tile_columns: int

    def load(self, vectors: NDArray[np.float32]) -> Any:
        """The vectors (n, k) where they are needed; slices of what is returned go to ``above``."""

    def above(self, a: Any, b: Any, floor: float) -> NDArray[np.int64]:
        """Positions in the flattened product (rows of a, rows of b) of all values of ``floor`` or more, ascending."""


class CpuProducts:
    """By NumPy; the result of one product (2 MiB) is searched while it is still in the processor's cache."""

    tile_rows, tile_columns = 512, 1024

    def __init__(self) -> None:
        self._buffer = np.empty(self.tile_rows * self.tile_columns, np.float32)

    def load(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """The vectors themselves."""
        return vectors

    def above(self, a: NDArray[np.float32], b: NDArray[np.float32], floor: float) -> NDArray[np.int64]:
        """See ``Products``."""
        product = self._buffer[: len(a) * len(b)].reshape(len(a), len(b))
        np.matmul(a, b.T, out=product)
        return np.flatnonzero(product >= np.float32(floor))


class CupyProducts:
    """By CuPy; tiles are as large as a GPU needs to be busy (256 MiB)."""

    tile_rows, tile_columns = 8192, 8192

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy

    def load(self, vectors: NDArray[np.float32]) -> Any:
        """The vectors in the GPU's memory."""
        return self._cupy.asarray(vectors)

    def above(self, a: Any, b: Any, floor: float) -> NDArray[np.int64]:
        """See ``Products``."""
        found = self._cupy.flatnonzero(a @ b.T >= np.float32(floor))
        positions: NDArray[np.int64] = self._cupy.asnumpy(found).astype(np.int64)
        return positions


def make_products(device: Device) -> Products:
    """The products of a device; ``auto`` takes a GPU where CuPy finds one.

    Raises
    ------
    ConfigError
        If ``cuda`` is asked for and CuPy or the GPU is not there.
    """
    if device == "cpu":
        return CpuProducts()
    found, why = _cupy()
    if found is not None:
        if os.environ.get("CUPY_TF32", "0") != "0":
            raise ConfigError(
                "CUPY_TF32 is set, with which a GPU keeps 10 bits of a value in products, too few for grouping to be "
                "exact; unset it, or set group.device to cpu"
            )
        return CupyProducts(found)
    if device == "auto":
        return CpuProducts()
    raise ConfigError(
        f"group.device is cuda, but {why}; set it to cpu, or run on a node with a GPU and install cupy-cuda12x"
    )


def _cupy() -> tuple[Any, str]:
    """CuPy where there is a GPU that it can use, or None and why not."""
    try:
        import cupy
    except ImportError as error:
        return None, f"CuPy is not installed ({error})"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return None, f"CuPy finds no GPU ({error})"
    if not count:
        return None, "CuPy finds no GPU"
    return cupy, ""
