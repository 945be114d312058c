"""Simulated lines against measured patterns: positions of every strong peak of bixbyite and anatase."""

from pathlib import Path

import numpy as np
import pytest
from scipy.signal import find_peaks, savgol_filter

from hpc_mlsm.scattering.engines import simulate_structure
from hpc_mlsm.scattering.powder.conditions import Radiation, TwoThetaGrid
from hpc_mlsm.scattering.powder.settings import PowderSettings
from hpc_mlsm.structures.starter import starter_set

COPPER = Radiation((1.540593, 1.544427), (2.0, 1.0))


@pytest.mark.reference
@pytest.mark.parametrize(
    ("file", "structure", "width", "least", "deviation"),
    [
        # The measured cells are those of other samples than the published ones: 0.1 % in length is 0.05° at 50°.
        ("Mn2O3.xy", "starter/Mn2O3-bixbyite", 0.2, 8, 0.08),
        # Crystallites of about 150 Å: peaks 0.6° wide overlap.
        ("TiO2.xy", "starter/TiO2-anatase", 0.6, 6, 0.15),
    ],
)
def test_strong_peaks_lie_where_they_were_measured(
    shared_data: Path, file: str, structure: str, width: float, least: int, deviation: float
) -> None:
    two_theta, counts = np.loadtxt(shared_data / "experimental" / "xrd" / file).T[:2]
    settings = PowderSettings(grid=TwoThetaGrid(10.0, 80.0, 0.01), radiation=COPPER, caglioti_w=(width**2, width**2))
    crystal = next(one for one in starter_set() if one.id == structure)
    pattern = simulate_structure(crystal, settings).base
    measured = two_theta[_peaks(counts)]
    simulated = settings.grid.two_theta[_peaks(pattern)]
    differences = np.abs(simulated[:, None] - measured).min(axis=1)
    print(
        f"{file}: {len(simulated)} peaks, largest difference {differences.max():.3f}°, mean {differences.mean():.3f}°"
    )
    assert len(simulated) >= least
    assert differences.max() < deviation


def _peaks(values: np.ndarray) -> np.ndarray:
    """Indices of peaks with at least 4 % of the prominence of the largest."""
    smooth = savgol_filter(values, 31, 2)
    found, _ = find_peaks(smooth, prominence=0.04 * np.ptp(smooth))
    return found
