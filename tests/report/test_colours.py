"""Colours of phases and of verdicts are told apart by people with each kind of colour blindness."""

import matplotlib.colors as colours
import numpy as np
import pytest
from numpy.typing import NDArray

from hpc_mlsm.report.archive_maps import PHASE_COLOURS, VERDICT_COLOURS

SEEN = {
    "no colour blindness": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""What becomes of linear red, green and blue (Machado, Oliveira and Fernandes 2009)."""

TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
APART = 10.0
"""Distance in CIE Lab; 2 is just noticed side by side, and 10 at a glance."""


def lab(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    xyz = linear @ TO_XYZ.T / TO_XYZ.sum(axis=1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


@pytest.mark.parametrize("who", SEEN)
@pytest.mark.parametrize("chosen", [PHASE_COLOURS, VERDICT_COLOURS], ids=["phases", "verdicts"])
def test_any_two_colours_are_told_apart(chosen: tuple[str, ...], who: str) -> None:
    rgb = np.array([colours.to_rgb(one) for one in chosen])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = lab(np.clip(linear @ np.array(SEEN[who]).T, 0, 1))
    distances = np.linalg.norm(seen[:, None] - seen, axis=-1)
    assert distances[~np.eye(len(chosen), dtype=bool)].min() > APART
