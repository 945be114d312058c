"""How measured powder patterns are brought to what a model was trained on."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval


@dataclass(frozen=True)
class MeasuredPowderSettings:
    """Treatment of measured powder patterns.

    Attributes
    ----------
    axis
        What the abscissa is: ``auto`` believes the file and refuses what looks like something else than 2θ in degrees;
        ``degrees``, ``radians`` (2θ) or ``q`` (1/Å) overrule that.
    wavelength
        Å, for files that state none; where this is None too, the model's is assumed and noted.
    background
        ``snip`` (statistics-sensitive non-linear iterative peak clipping), ``arpls`` (asymmetrically reweighted
        penalised least squares), or ``none``.
    background_width
        For ``snip``: half width (degree) that a peak with its tails does not exceed. The wider, the more of a broad
        hump is left: with 1° a hundredth of the highest peak where an amorphous one is 20° wide, with 2° a twentieth.
    background_stiffness
        For ``arpls``: the larger, the straighter the background; of a grid with steps of 0.02°.
    strip_k_alpha2
        Remove the Kα2 lines (Rachinger 1948), with the file's wavelengths or else those of the anode.
    min_peaks
        A pattern with fewer peaks in the model's range gets no answer.
    """

    axis: Literal["auto", "degrees", "radians", "q"] = "auto"
    wavelength: Annotated[float, Interval(gt=0.05, lt=10.0)] | None = None
    background: Literal["none", "snip", "arpls"] = "snip"
    background_width: Annotated[float, Interval(gt=0.1, le=20.0)] = 1.0
    background_stiffness: Annotated[float, Gt(0)] = 1e5
    strip_k_alpha2: bool = False
    min_peaks: Annotated[int, Ge(0)] = 10
