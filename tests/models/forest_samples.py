"""Rows from which forests can learn something, quickly."""

import numpy as np

from hpc_mlsm.models.forest_rows import ForestRows


def rows(n: int = 240, kind: str = "random_forest", classes: int = 4, seed: int = 0) -> ForestRows:
    """Ten ascending positions that shift with the class, a number of peaks, and for random forests a strongest one."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    positions = np.sort(rng.uniform(5, 60, (n, 10)), axis=1) + 3.0 * labels[:, None]
    columns = [positions, rng.integers(5, 60, (n, 1))]
    if kind == "random_forest":
        columns.append(positions[np.arange(n), rng.integers(0, 10, n)][:, None])
    return ForestRows.of(np.hstack(columns), labels, (np.arange(n) // classes) % 5)


class Odd:
    """A type that no forest holds."""

    def __init__(self) -> None:
        self.value = 1
