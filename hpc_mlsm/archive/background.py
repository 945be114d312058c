"""Background of powder patterns, by pybaselines."""

import warnings

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.powder_settings import MeasuredPowderSettings

_REFERENCE_STEP = 0.02
_SMOOTH_DEGREES = 0.1


def background_of(intensity: NDArray[np.float64], step: float, settings: MeasuredPowderSettings) -> NDArray[np.float64]:
    """Smooth background below the peaks, nowhere above the intensity by more than noise.

    Parameters
    ----------
    intensity : float64 (n,)
        On an even grid.
    step : float
        Of that grid, degree.
    settings : MeasuredPowderSettings
        Method ``snip`` (Ryan et al. 1988) or ``arpls`` (Baek et al. 2015) and its parameter.
    """
    from pybaselines import smooth, whittaker

    if settings.background == "arpls":
        # The penalty acts on second differences, whose sum of squares goes with the fourth power of the step.
        stiffness = settings.background_stiffness * (_REFERENCE_STEP / step) ** 4
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of weights that over- or underflow, which are as meant
            fitted, _ = whittaker.arpls(intensity, lam=stiffness)
        return np.asarray(fitted, dtype=np.float64)
    half = min(max(1, round(settings.background_width / step)), (len(intensity) - 1) // 2)
    smooth_half = min(max(1, round(_SMOOTH_DEGREES / step)), half)
    clipped, _ = smooth.snip(intensity, max_half_window=half, decreasing=True, smooth_half_window=smooth_half)
    return np.asarray(clipped, dtype=np.float64)
