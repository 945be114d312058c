"""Training patterns that are never twice the same: cells of another size, and other heights of peaks.

Neither changes the crystal system. A cell that is larger by a factor s in all directions moves each peak from sin θ to
sin θ / s; other atoms in it change structure factors, and with them the heights.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.models.cnn_settings import CnnSettings

KNOTS = 128
"""Places along a pattern at which the change of heights is drawn; between them it is interpolated."""

CHANCES = 1 + KNOTS
"""Random numbers for a pattern: one uniform from -1 to 1 for the size of the cell, then normal ones for heights."""


def draw_chances(settings: CnnSettings, epoch: int, step: int, total: int) -> NDArray[np.float32]:
    """Random numbers (total, CHANCES) for all rows of a step, of all ranks; zeros where none are needed."""
    if not settings.stretch and not settings.heights:
        return np.zeros((total, CHANCES), dtype=np.float32)
    rng = np.random.default_rng([settings.seed, 1, epoch, step])
    chances = rng.standard_normal((total, CHANCES), dtype=np.float32)
    chances[:, 0] = rng.uniform(-1, 1, total)
    return chances


def augmented(
    tf: Any, settings: CnnSettings, two_theta: NDArray[np.float64], x: Any, y: dict[str, Any], chances: Any
) -> tuple[Any, dict[str, Any]]:
    """Patterns (rows, points) and targets as the network sees them in training; what they hold follows from chances."""
    if settings.heights:
        x = _other_heights(tf, settings, x, chances[:, 1:])
    if settings.stretch:
        logarithm = settings.stretch * chances[:, :1]
        x = _stretched(tf, two_theta, x, tf.exp(logarithm))
        if "cell" in y:
            zeros = tf.zeros_like(logarithm)
            change = tf.concat([logarithm] * 3 + [zeros] * 3, axis=1)
            y = {**y, "cell": y["cell"] + change}
    if settings.heights or settings.stretch:
        x = tf.math.divide_no_nan(x, tf.reduce_max(x, axis=1, keepdims=True))
    return x, y


def refuse_unsuited_grid(settings: CnnSettings, two_theta: NDArray[np.float64]) -> None:
    """Refuse to stretch patterns whose axis is not 2θ in equal steps.

    Raises
    ------
    ConfigError
        Says what the grid is like.
    """
    steps = np.diff(two_theta)
    suited = len(steps) and np.ptp(steps) < 1e-3 * abs(steps.mean()) and 0 <= two_theta[0] < two_theta[-1] <= 180
    if settings.stretch and not suited:
        raise ConfigError(
            f"train.cnn.stretch needs patterns on a grid of 2θ in equal steps within 0 to 180 degrees, found "
            f"{len(two_theta)} points from {two_theta[0]:g} to {two_theta[-1]:g}; set train.cnn.stretch to 0"
        )


def _other_heights(tf: Any, settings: CnnSettings, x: Any, normal: Any) -> Any:
    points = x.shape[1]
    place = np.linspace(0, KNOTS - 1, points)
    left = np.minimum(place.astype(np.int32), KNOTS - 2)
    share = (place - left).astype(np.float32)
    logarithm = tf.gather(normal, left, axis=1) * (1 - share) + tf.gather(normal, left + 1, axis=1) * share
    power = 0.5 if settings.scale == "sqrt" else 1.0
    return x * tf.exp(power * settings.heights * logarithm)


def _stretched(tf: Any, two_theta: NDArray[np.float64], x: Any, factor: Any) -> Any:
    """Patterns of cells that are larger by a factor (rows, 1); zero where they would be known from outside the grid."""
    points, step = len(two_theta), float(two_theta[1] - two_theta[0])
    sine = np.sin(np.radians(two_theta / 2)).astype(np.float32)[None, :]
    source = 2 * tf.asin(tf.minimum(factor * sine, 1.0)) * np.float32(180 / np.pi)
    place = (source - np.float32(two_theta[0])) / np.float32(step)
    known = tf.cast((place >= 0) & (place <= points - 1), tf.float32)
    left = tf.clip_by_value(tf.cast(tf.floor(place), tf.int32), 0, points - 2)
    share = tf.clip_by_value(place - tf.cast(left, tf.float32), 0.0, 1.0)
    found = tf.gather(x, left, batch_dims=1) * (1 - share) + tf.gather(x, left + 1, batch_dims=1) * share
    return found * known
