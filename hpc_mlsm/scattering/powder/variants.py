"""Latin-hypercube sampling of the powder variants of one structure."""

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.scattering.latin_hypercube import latin_hypercube
from hpc_mlsm.scattering.powder.conditions import PowderConditions
from hpc_mlsm.scattering.powder.settings import SAMPLED, PowderSettings
from hpc_mlsm.scattering.variants import evenly, evenly_in_inverse, seed_of
from hpc_mlsm.structures.structure import Structure
from hpc_mlsm.structures.symmetry import axis_classes

UNITS = {
    "caglioti_u": "degree^2",
    "caglioti_v": "degree^2",
    "caglioti_w": "degree^2",
    "size": "angstrom",
    "u_change": "angstrom^2",
    "zero_shift": "degree",
    "sample_shift": "degree",
    "hump_centre": "degree",
    "hump_width": "degree",
}
"""Of the sampled parameters; those not listed are numbers."""

_UNDISTURBED = {"u_change": 0.0, "march": 1.0, "zero_shift": 0.0, "sample_shift": 0.0, "microstrain": 0.0, "size": 0.0}


@dataclass(frozen=True)
class PowderVariants:
    """V variants of one structure: factors on a, b and c, shape (V, 3), and conditions."""

    axis_scales: NDArray[np.float64]
    conditions: PowderConditions

    def __len__(self) -> int:
        return len(self.axis_scales)

    def parameters(self) -> dict[str, tuple[str, NDArray[np.float64]]]:
        """(unit, values (V,)) by name, as a store keeps them."""
        scales = {f"scale_{axis}": ("", self.axis_scales[:, k]) for k, axis in enumerate("abc")}
        found = self.conditions
        return scales | {item.name: (UNITS.get(item.name, ""), getattr(found, item.name)) for item in fields(found)}


def sample_powder_variants(structure: Structure, settings: PowderSettings) -> PowderVariants:
    """Draw the variants of a structure; every structure has its own Latin hypercube.

    Cell lengths that symmetry ties together share one factor. Only what is varied takes a dimension.
    """
    classes = _axis_classes(structure.operations)
    n_lengths = (max(classes) + 1) if settings.strain > 0 else 0
    varied = [name for name in SAMPLED if getattr(settings, name)[1] > getattr(settings, name)[0]]
    textured = settings.march != (1.0, 1.0) and len(settings.march_axes) > 1
    dimensions = n_lengths + len(varied) + textured
    if not dimensions:
        return _unvaried(settings)
    count = settings.variants
    unit = latin_hypercube(seed_of(structure.id, settings.seed), count, dimensions)
    scales = np.ones((count, 3))
    if n_lengths:
        scales = (1 + settings.strain * (2 * unit[:, :n_lengths] - 1))[:, list(classes)]
    columns = {name: np.full(count, float(getattr(settings, name)[0])) for name in SAMPLED}
    for column, name in enumerate(varied, start=n_lengths):
        columns[name] = _spread(name, unit[:, column], getattr(settings, name))
    columns["march_axis"] = np.floor(unit[:, -1] * len(settings.march_axes)) if textured else np.zeros(count)
    return PowderVariants(scales, PowderConditions(**columns))


@lru_cache(maxsize=8)
def base_powder_variant(settings: PowderSettings) -> PowderVariants:
    """The one undisturbed pattern of a structure: widths in the middle of their ranges, no size limit, no noise."""
    middles = {name: float(np.mean(getattr(settings, name))) for name in SAMPLED}
    middles |= _UNDISTURBED | dict.fromkeys(("background", "hump", "impurity", "counts", "slope", "bend", "twist"), 0.0)
    return PowderVariants(np.ones((1, 3)), PowderConditions.uniform(1, **middles))


@lru_cache(maxsize=8)
def _unvaried(settings: PowderSettings) -> PowderVariants:
    """Variants that are the same for every structure."""
    values = {name: float(getattr(settings, name)[0]) for name in SAMPLED}
    return PowderVariants(np.ones((settings.variants, 3)), PowderConditions.uniform(settings.variants, **values))


_axis_classes = lru_cache(maxsize=4096)(axis_classes)


def _spread(name: str, unit: NDArray[np.float64], limits: tuple[float, float]) -> NDArray[np.float64]:
    """Values in a range for numbers in [0, 1)."""
    if name == "size":
        return evenly_in_inverse(unit, limits)
    if name in ("march", "counts"):
        return np.asarray(np.exp(evenly(unit, (float(np.log(limits[0])), float(np.log(limits[1]))))))
    if name == "caglioti_w":
        return evenly(unit, (float(np.sqrt(limits[0])), float(np.sqrt(limits[1])))) ** 2
    return evenly(unit, limits)
