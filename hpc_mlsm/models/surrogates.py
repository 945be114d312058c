"""Curves that are no patterns, made from patterns: what a verdict must tell from them.

Noise comes white, band-limited, and as patterns whose phases were drawn anew (Theiler et al., Physica D 1992), which
have the spectrum of a pattern and nothing of its order. Amorphous curves lose their order after a few neighbours.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

LARGEST_NOISE = 0.3
"""Standard deviation of the noise on measured patterns at most, as a share of the pattern's."""

AMORPHOUS_NOISE = 1.0
"""The same of amorphous curves, whose standard deviation over the whole range is small: most of it is noise then."""


def with_noise(
    patterns: NDArray[np.float32], generator: np.random.Generator, largest: float = LARGEST_NOISE
) -> NDArray[np.float32]:
    """Patterns as measured: with band-limited noise of up to ``largest`` of their standard deviation."""
    level = generator.uniform(0.0, largest, size=(len(patterns), 1))
    noise = _band_limited(patterns.shape, generator)
    spread = patterns.std(axis=1, keepdims=True) / np.maximum(noise.std(axis=1, keepdims=True), 1e-30)
    return (patterns + level * spread * noise).astype(np.float32)


def no_patterns(
    patterns: NDArray[np.float32], axis: NDArray[np.float64], name: str, generator: np.random.Generator
) -> NDArray[np.float32]:
    """As many curves that are no patterns as there are patterns: noise of three kinds, and amorphous curves.

    ``name`` of the axis is "r" for PDFs; others are taken for powder patterns.
    """
    quarters = np.array_split(generator.permutation(len(patterns)), 4)
    shapes = [(len(quarter), patterns.shape[1]) for quarter in quarters]
    amorphous = _amorphous_pdfs if name == "r" else _halos
    made = np.concatenate(
        [
            generator.normal(size=shapes[0]),
            _band_limited(shapes[1], generator),
            _phases_anew(patterns[quarters[2]], generator),
            with_noise(
                amorphous(patterns[quarters[3]], axis, generator).astype(np.float32), generator, AMORPHOUS_NOISE
            ),
        ]
    )
    return made.astype(np.float32)


def _band_limited(shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[np.float64]:
    """Noise without the highest frequencies, each row with a width of its own."""
    noise = generator.normal(size=shape)
    rows = np.array_split(np.arange(shape[0]), 4)
    for part, width in zip(rows, (0.0, 0.5, 0.8, 1.2), strict=True):
        if width and len(part):
            noise[part] = gaussian_filter1d(noise[part], width, axis=1)
    return noise


def _phases_anew(patterns: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float64]:
    spectrum = np.abs(np.fft.rfft(patterns, axis=1))
    phase = np.exp(2j * np.pi * generator.uniform(size=spectrum.shape))
    return np.fft.irfft(spectrum * phase, n=patterns.shape[1], axis=1)


def _amorphous_pdfs(
    patterns: NDArray[np.float32], r: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.float64]:
    """PDFs whose order decays over 1 to 4 Å and whose shells widen with distance."""
    length = generator.uniform(1.0, 4.0, size=(len(patterns), 1))
    step = float(r[1] - r[0])
    blurred = np.stack([gaussian_filter1d(patterns, width / step, axis=1) for width in (0.05, 0.2, 0.4)])
    reach = np.clip((r - 2.5) / 3.0, 0.0, 1.99)
    low = reach.astype(int)
    mixed = np.stack(
        [
            blurred[k, :, j] * (1 - f) + blurred[k + 1, :, j] * f
            for j, (k, f) in enumerate(zip(low, reach - low, strict=True))
        ],
        axis=1,
    )
    return np.asarray(mixed * np.exp(-np.maximum(0.0, r - 2.0) / length))


def _halos(
    patterns: NDArray[np.float32], two_theta: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.float64]:
    """One to three humps of 3 to 12° width on a sloping background."""
    n, span = len(patterns), float(two_theta[-1] - two_theta[0])
    curves = generator.uniform(0.0, 0.5, size=(n, 1)) * np.exp(-(two_theta - two_theta[0]) / (0.3 * span))
    for _ in range(3):
        place = two_theta[0] + span * generator.uniform(0.1, 0.7, size=(n, 1))
        width = generator.uniform(3.0, 12.0, size=(n, 1)) / 2.355
        curves = curves + generator.uniform(0.0, 1.0, size=(n, 1)) * np.exp(-0.5 * ((two_theta - place) / width) ** 2)
    return np.asarray(curves)
