"""Scans that a powder file holds, checked alike whatever the format."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.pattern import Pattern
from hpc_mlsm.errors import PatternError

MIN_POINTS = 10
Metadata = dict[str, str | float]


def scan_name(path: Path, index: int, count: int) -> str:
    """The file's stem; with the scan's number behind it where the file holds several."""
    return path.stem if count == 1 else f"{path.stem}#{index + 1}"


def scan_pattern(
    name: str,
    source: str,
    two_theta: NDArray[np.float64],
    intensity: NDArray[np.float64],
    metadata: Metadata,
    uncertainty: NDArray[np.float64] | None = None,
) -> Pattern:
    """A scan over 2θ (degree) as a pattern; one that was measured downwards is turned round.

    Raises
    ------
    PatternError
        "too_few_points", "not_finite", "descending", "duplicate_x" or "constant".
    """
    where = f"{source} ({name})"
    if len(two_theta) != len(intensity):
        raise PatternError(
            "ragged", f"{where}: {len(two_theta)} angles but {len(intensity)} intensities; the file is damaged"
        )
    if len(two_theta) < MIN_POINTS:
        raise PatternError("too_few_points", f"{where}: {len(two_theta)} points, at least {MIN_POINTS} are needed")
    bad = np.flatnonzero(~(np.isfinite(two_theta) & np.isfinite(intensity)))
    if bad.size:
        raise PatternError(
            "not_finite",
            f"{where}, point {bad[0] + 1}: {two_theta[bad[0]]:g} {intensity[bad[0]]:g} is not finite (points like it: "
            f"{bad.size}); remove them or export the pattern again",
        )
    if (np.diff(two_theta) < 0).all():
        two_theta, intensity = two_theta[::-1].copy(), intensity[::-1].copy()
        uncertainty = None if uncertainty is None else uncertainty[::-1].copy()
    steps = np.diff(two_theta)
    if not (steps > 0).all():
        row = int(np.argmin(steps > 0))
        reason, words = ("duplicate_x", "stands still") if steps[row] == 0 else ("descending", "goes back")
        raise PatternError(
            reason,
            f"{where}, point {row + 2}: 2θ {words} from {two_theta[row]:g} to {two_theta[row + 1]:g}; "
            "export one ascending scan",
        )
    if np.all(intensity == intensity[0]):
        raise PatternError(
            "constant", f"{where}: the intensity is {intensity[0]:g} at all {len(intensity)} points; no pattern in it"
        )
    if uncertainty is not None and not (
        np.isfinite(uncertainty).all() and uncertainty.min() >= 0 and uncertainty.any()
    ):
        uncertainty = None
    return Pattern(name, two_theta, intensity, "two_theta", "degree", uncertainty, metadata, source)


def not_two_theta(source: str, axis: str) -> PatternError:
    """The error for a scan of another axis, such as a rocking curve."""
    return PatternError(
        "wrong_axis", f"{source}: the scan runs over {axis or 'an unnamed axis'}, not over 2θ; a powder scan is needed"
    )


def truncated(source: str, needed: int, found: int) -> PatternError:
    """The error for a binary file that ends too early."""
    return PatternError(
        "truncated", f"{source}: the file ends after {found} bytes, its header announces {needed}; copy it again"
    )
