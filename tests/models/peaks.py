"""A small problem for networks: peaks whose places follow from the class, on shards in memory."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.models.cnn_input import scale_patterns
from hpc_mlsm.models.cnn_settings import CnnSettings

POINTS = 128
CLASSES = 3
SHARD = 50


@dataclass
class Peaks:
    """``PatternRows`` of made-up patterns; class k has peaks at multiples of another distance, of random heights."""

    patterns: NDArray[np.float32]
    targets: dict[str, NDArray]
    asked: int = 0
    n_points: int = POINTS

    @classmethod
    def make(cls, n: int, seed: int, shares: tuple[float, ...] = (0.6, 0.3, 0.1)) -> "Peaks":
        rng = np.random.default_rng(seed)
        labels = rng.choice(CLASSES, n, p=shares)
        axis = np.arange(POINTS, dtype=float)
        spacing = np.array([13.0, 17.0, 23.0])[labels] + rng.uniform(-0.5, 0.5, n)
        places = spacing[:, None] * np.arange(1, 6)
        heights = rng.uniform(0.2, 1.0, places.shape)
        curves = (heights[:, :, None] * np.exp(-0.5 * ((axis - places[:, :, None]) / 1.5) ** 2)).sum(axis=1)
        noisy = curves + 0.02 * rng.standard_normal(curves.shape)
        cell = np.column_stack([spacing / 20] * 6).astype(np.float32)
        targets = {"class": labels, "space_group": labels * 2, "cell": cell}
        return cls(scale_patterns(1000 * noisy, "sqrt"), targets)

    def keep(self, *names: str) -> "Peaks":
        """With these targets only."""
        return replace(self, targets={name: self.targets[name] for name in names})

    @property
    def two_theta(self) -> NDArray[np.float64]:
        return np.linspace(10.0, 60.0, self.n_points)

    @property
    def shards(self) -> NDArray[np.int64]:
        return np.arange(len(self.patterns)) // SHARD

    @property
    def rows(self) -> NDArray[np.int64]:
        return np.arange(len(self.patterns)) % SHARD

    def read(self, shard: int, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        assert (np.diff(rows) > 0).all()
        self.asked += len(rows)
        return self.patterns[shard * SHARD + rows]


TRAIN = Peaks.make(300, 1).keep("class")
VALIDATION = Peaks.make(120, 2).keep("class")


def small(**changes: object) -> CnnSettings:
    """A network that learns the problem in seconds."""
    chosen: dict[str, object] = {
        "widths": (8, 16),
        "epochs": 4,
        "batch": 32,
        "dropout": 0.1,
        # Classes of this problem are told by the very size of the cell.
        "stretch": 0.0,
        "heights": 0.3,
        "warmup_epochs": 1.0,
        "learning_rate": 5e-3,
        "device": "cpu",
        "threads": 1,
    }
    return CnnSettings(**{**chosen, **changes})  # type: ignore[arg-type]
