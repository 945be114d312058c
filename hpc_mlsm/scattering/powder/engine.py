"""Powder patterns of one structure: reflections and |F|² once, then all its variants."""

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import StructureError
from hpc_mlsm.scattering.pdf import least_stretch
from hpc_mlsm.scattering.powder.disturbances import disturb
from hpc_mlsm.scattering.powder.lattice import lattice_of
from hpc_mlsm.scattering.powder.lines import Lines, list_lines
from hpc_mlsm.scattering.powder.profile import powder_profile
from hpc_mlsm.scattering.powder.settings import PowderSettings
from hpc_mlsm.scattering.powder.variants import base_powder_variant, sample_powder_variants
from hpc_mlsm.scattering.simulated import SimulatedStructure
from hpc_mlsm.structures.structure import Structure

POWDER_ENGINE_VERSION = 1
"""Raised when results change, so that stored patterns are computed anew."""

BEYOND = 1.0
"""Lines this many degrees beyond the end of the grid are computed too, for their tails."""


def simulate_powder(structure: Structure, settings: PowderSettings) -> SimulatedStructure:
    """Base pattern and variants of one structure.

    Raises
    ------
    StructureError
        ``no_reflections`` if no line falls on the grid, and what ``list_lines`` raises.
    """
    drawn, base = sample_powder_variants(structure, settings), base_powder_variant(settings)
    scales = np.concatenate([base.axis_scales, drawn.axis_scales])
    conditions = base.conditions.followed_by(drawn.conditions)
    lines = lines_of(structure, settings, scales)
    patterns = powder_profile(lines, scales, conditions, settings.radiation, settings.grid)
    if not (patterns.max(axis=1) > 0).all():
        raise StructureError(
            "no_reflections",
            f"{structure.id}: no line lies between {settings.grid.two_theta_min} and {settings.grid.two_theta_max} "
            "degrees 2θ; widen the grid or change the wavelength",
        )
    named = {"largest": settings.largest, "structure_id": structure.id, "seed": settings.seed}
    patterns = disturb(patterns, conditions, settings.grid, settings.radiation, **named)  # type: ignore[arg-type]
    return SimulatedStructure(
        structure_id=structure.id,
        content_hash=structure.content_hash,
        base=patterns[0],
        patterns=patterns[1:],
        parameters=drawn.parameters(),
    )


def lines_of(structure: Structure, settings: PowderSettings, axis_scales: NDArray[np.float64]) -> Lines:
    """Lines of a structure that can fall on the grid when a, b and c are scaled by any of the factors (V, 3)."""
    end = min(settings.grid.two_theta_max + BEYOND, 179.9)
    d_min = min(settings.radiation.wavelengths) / (2 * np.sin(np.radians(end / 2)))
    closest = 1.0
    if (axis_scales != 1).any():
        closest = least_stretch(lattice_of(structure).reciprocal, 1 / axis_scales)
    return list_lines(
        structure,
        float(d_min * closest),
        u_iso=settings.u_iso,
        wavelength=settings.radiation.wavelengths[0] if settings.dispersion else None,
        axes=settings.march_axes if settings.march != (1.0, 1.0) else (),
    )
