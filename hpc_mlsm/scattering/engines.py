"""The engines that compute PDFs, behind one signature, and what the simulate stage asks of them."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.scattering.conditions import Engine, PdfConditions, PdfGrid
from hpc_mlsm.scattering.pairs import pair_lists
from hpc_mlsm.scattering.pdf import least_stretch, reach, simulate_pdf
from hpc_mlsm.scattering.settings import EngineName, PdfSettings
from hpc_mlsm.scattering.variants import Variants, base_variant, sample_variants
from hpc_mlsm.structures.structure import Structure

ENGINE_VERSION = 1
"""Raised when an engine's results change, so that stored patterns are computed anew."""

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


@dataclass(frozen=True)
class SimulatedStructure:
    """Base pattern (n,), variant patterns (V, n), and the parameters of each variant as (unit, array (V,))."""

    structure_id: str
    content_hash: str
    base: NDArray[np.float32]
    patterns: NDArray[np.float32]
    parameters: dict[str, tuple[str, NDArray[np.float64]]]


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


def simulate_structure(structure: Structure, settings: PdfSettings) -> SimulatedStructure:
    """Base pattern and variants of one structure, computed together so that its pairs are listed once."""
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
