"""Training patterns that are never twice the same."""

from typing import Any

import numpy as np
import pytest

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.models.cnn_augment import CHANCES, augmented, draw_chances, refuse_unsuited_grid
from hpc_mlsm.models.cnn_settings import CnnSettings

TWO_THETA = np.linspace(0, 90, 4501)
WAVELENGTH = 1.54056
NOTHING = CnnSettings(stretch=0.0, heights=0.0, scale="linear")


@pytest.fixture
def tf() -> Any:
    return pytest.importorskip("tensorflow", reason="tensorflow is not installed (extra cnn)")


def cubic(a: float) -> np.ndarray:
    """Peaks of a primitive cubic cell (Å), all of one height, 0.1 degrees wide."""
    square = np.arange(1, 30)
    d = a / np.sqrt(square[[n % 8 != 7 for n in square]])
    places = 2 * np.degrees(np.arcsin(WAVELENGTH / (2 * d[d > WAVELENGTH / (2 * np.sin(np.pi / 4))])))
    return np.exp(-0.5 * ((TWO_THETA[:, None] - places) / 0.1) ** 2).sum(axis=1).astype(np.float32)


def peaks_of(pattern: np.ndarray) -> np.ndarray:
    inner = pattern[1:-1]
    return TWO_THETA[1:-1][(inner > pattern[:-2]) & (inner >= pattern[2:]) & (inner > 0.3)]


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_stretched_pattern_is_that_of_a_cell_of_another_size(tf: Any, sign: float) -> None:
    settings = CnnSettings(stretch=0.1, heights=0.0, scale="linear")
    chances = np.zeros((2, CHANCES), dtype=np.float32)
    chances[1, 0] = sign
    patterns = np.stack([cubic(4.0)] * 2)
    targets = {"class": np.array([6, 6]), "cell": np.log(np.full((2, 6), 4.0, dtype=np.float32))}
    found, changed = augmented(tf, settings, TWO_THETA, tf.constant(patterns), targets, tf.constant(chances))
    assert np.allclose(found[0], patterns[0], atol=2e-3)
    a = 4.0 * np.exp(0.1 * sign)
    expected, seen = peaks_of(cubic(a)), peaks_of(found[1].numpy())
    # Beyond 90 degrees nothing is known of the pattern, so a larger cell lacks its last peaks.
    assert 5 < len(seen) <= len(expected)
    assert len(seen) == len(expected) or sign > 0
    assert np.abs(expected[: len(seen)] - seen).max() < 0.03
    assert np.allclose(np.exp(changed["cell"][1, :3]), a)
    assert np.allclose(changed["cell"][1, 3:], targets["cell"][1, 3:])


def test_other_heights_leave_every_peak_where_it_is(tf: Any) -> None:
    pattern = cubic(4.0)
    for scale in ("linear", "sqrt"):
        settings = CnnSettings(stretch=0.0, heights=0.5, scale=scale)
        chances = draw_chances(settings, 0, 0, 50)
        found, _ = augmented(tf, settings, TWO_THETA, tf.constant(np.stack([pattern] * 50)), {}, tf.constant(chances))
        assert np.allclose(found.numpy().max(axis=1), 1.0)
        assert (
            np.abs(peaks_of(found[3].numpy() / found[3].numpy().max() * 3)[:, None] - peaks_of(pattern))
            .min(axis=1)
            .max()
            <= 0.05
        )
        at = np.searchsorted(TWO_THETA, peaks_of(pattern))
        power = 0.5 if scale == "sqrt" else 1.0
        spread = np.log(found.numpy()[:, at[2]] / found.numpy()[:, at[-2]]).std() / power
        # Between knots two normal numbers are averaged, which narrows them to 0.7 to 1 of their width.
        assert 0.5 * np.sqrt(2) * 0.55 < spread < 0.5 * np.sqrt(2) * 1.35


def test_without_both_nothing_is_changed_and_nothing_drawn(tf: Any) -> None:
    patterns = tf.constant(np.stack([cubic(5.0)]))
    chances = draw_chances(NOTHING, 3, 4, 1)
    assert not chances.any()
    assert augmented(tf, NOTHING, TWO_THETA, patterns, {}, chances)[0] is patterns


def test_chances_follow_from_seed_epoch_and_step() -> None:
    one = draw_chances(CnnSettings(), 1, 2, 10)
    assert one.shape == (10, CHANCES)
    assert np.array_equal(one, draw_chances(CnnSettings(), 1, 2, 10))
    for other in (
        draw_chances(CnnSettings(), 1, 3, 10),
        draw_chances(CnnSettings(), 2, 2, 10),
        draw_chances(CnnSettings(seed=1), 1, 2, 10),
    ):
        assert not np.array_equal(one, other)
    assert np.abs(draw_chances(CnnSettings(), 0, 0, 1000)[:, 0]).max() <= 1


@pytest.mark.parametrize("grid", [np.geomspace(1, 90, 100), np.linspace(0, 200, 100), np.linspace(90, 0, 100)])
def test_a_grid_that_cannot_be_stretched_is_refused(grid: np.ndarray) -> None:
    with pytest.raises(ConfigError, match=r"100 points from .*; set train\.cnn\.stretch to 0"):
        refuse_unsuited_grid(CnnSettings(), grid)
    refuse_unsuited_grid(NOTHING, grid)
    refuse_unsuited_grid(CnnSettings(), TWO_THETA)
