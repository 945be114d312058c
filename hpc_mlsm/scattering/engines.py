"""The engines that compute patterns, and what the simulate stage asks of them whatever the kind of pattern."""

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.scattering.conditions import Engine, PdfConditions, PdfGrid
from hpc_mlsm.scattering.kinds import PatternSettings
from hpc_mlsm.scattering.pairs import pair_lists
from hpc_mlsm.scattering.pdf import least_stretch, reach, simulate_pdf
from hpc_mlsm.scattering.powder.engine import POWDER_ENGINE_VERSION, simulate_powder
from hpc_mlsm.scattering.powder.settings import PowderSettings
from hpc_mlsm.scattering.settings import EngineName
from hpc_mlsm.scattering.simulated import SimulatedStructure
from hpc_mlsm.scattering.variants import Variants, base_variant, sample_variants
from hpc_mlsm.structures.structure import Structure

ENGINE_VERSION = 1
"""Raised when a PDF engine's results change, so that stored patterns are computed anew."""

UNITS = {
    "u_iso": "angstrom^2",
    "delta1": "angstrom",
    "delta2": "angstrom^2",
    "q_min": "1/angstrom",
    "q_max": "1/angstrom",
    "q_damp": "1/angstrom",
    "q_broad": "1/angstrom",
    "diameter": "angstrom",
}


def get_engine(name: EngineName) -> Engine:
    """The engine of that name; the reference engines are imported only when asked for.

    Raises
    ------
    ConfigError
        If the engine is unknown, or its package is not installed; says how to get it.
    """
    if name == "pdffit2":
        from hpc_mlsm.scattering.reference_pdffit2 import pdffit2_engine

        return pdffit2_engine()
    if name == "diffpy":
        from hpc_mlsm.scattering.reference_diffpy import diffpy_engine

        return diffpy_engine()
    if name == "native":
        return native_engine
    raise ConfigError(f"engine {name!r} is unknown; there are native, pdffit2 and diffpy")


def native_engine(
    structure: Structure, axis_scales: NDArray[np.float64], conditions: PdfConditions, grid: PdfGrid
) -> NDArray[np.float64]:
    """The package's own engine; pair lists of structures too large for memory are made and used piece by piece."""
    chunks = pair_lists(structure, reach(grid, conditions) / least_stretch(structure.cell.metric, axis_scales))
    return simulate_pdf(chunks, axis_scales, conditions, grid)


def engine_version(settings: PatternSettings) -> int:
    """Version of the engine that these settings ask for."""
    return POWDER_ENGINE_VERSION if isinstance(settings, PowderSettings) else ENGINE_VERSION


def simulate_structure(structure: Structure, settings: PatternSettings) -> SimulatedStructure:
    """Base pattern and variants of one structure, computed together so that pairs or reflections are listed once."""
    if isinstance(settings, PowderSettings):
        return simulate_powder(structure, settings)
    engine = get_engine(settings.engine)
    variants = sample_variants(structure, settings)
    base = base_variant(settings)
    axis_scales = np.concatenate([base.axis_scales, variants.axis_scales])
    conditions = base.conditions.followed_by(variants.conditions)
    patterns = engine(structure, axis_scales, conditions, settings.grid).astype(np.float32)
    return SimulatedStructure(
        structure_id=structure.id,
        content_hash=structure.content_hash,
        base=patterns[0],
        patterns=patterns[1:],
        parameters=_parameters(variants),
    )


def _parameters(variants: Variants) -> dict[str, tuple[str, NDArray[np.float64]]]:
    scales = {f"scale_{axis}": ("", variants.axis_scales[:, k]) for k, axis in enumerate("abc")}
    conditions = variants.conditions
    return scales | {f.name: (UNITS[f.name], getattr(conditions, f.name)) for f in fields(conditions)}
