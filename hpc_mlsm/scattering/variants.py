"""Latin-hypercube sampling of the variants of one structure."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.scattering.conditions import PdfConditions
from hpc_mlsm.scattering.latin_hypercube import latin_hypercube
from hpc_mlsm.scattering.settings import SAMPLED_CONDITIONS, PdfSettings
from hpc_mlsm.structures.structure import Structure
from hpc_mlsm.structures.symmetry import axis_classes


@dataclass(frozen=True)
class Variants:
    """V variants of one structure: factors on a, b and c, shape (V, 3), and conditions."""

    axis_scales: NDArray[np.float64]
    conditions: PdfConditions

    def __len__(self) -> int:
        return len(self.axis_scales)


def seed_of(structure_id: str, seed: int) -> np.random.Generator:
    """A random generator that depends on the structure and the configured seed, and on nothing else."""
    digest = hashlib.sha256(f"{seed}:{structure_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def sample_variants(structure: Structure, settings: PdfSettings) -> Variants:
    """Draw the variants of a structure; every structure has its own Latin hypercube.

    Cell lengths that symmetry ties together share one factor, so that a tetragonal cell stays tetragonal.
    """
    classes = _axis_classes(structure.operations)
    n_lengths = max(classes) + 1
    varied = [name for name in SAMPLED_CONDITIONS if _spans(getattr(settings, name))]
    generator = seed_of(structure.id, settings.seed)
    unit = latin_hypercube(generator, settings.variants, n_lengths + 1 + len(varied))
    factors = 1 + settings.strain * (2 * unit[:, :n_lengths] - 1)
    columns = {"u_iso": evenly(unit[:, n_lengths], settings.u_iso)}
    for column, name in enumerate(varied, start=n_lengths + 1):
        if name == "diameter":
            columns[name] = evenly_in_inverse(unit[:, column], settings.diameter)
        else:
            columns[name] = evenly(unit[:, column], getattr(settings, name))
    for name in set(SAMPLED_CONDITIONS) - set(varied):
        columns[name] = np.full(settings.variants, getattr(settings, name)[0])
    return Variants(factors[:, list(classes)], PdfConditions(**columns))


def base_variant(settings: PdfSettings) -> Variants:
    """The one unstrained pattern of a structure on which structures are compared."""
    middles = {name: np.array([np.mean(getattr(settings, name))]) for name in SAMPLED_CONDITIONS}
    middles["diameter"] = np.zeros(1)
    return Variants(np.ones((1, 3)), PdfConditions(u_iso=np.array([settings.base_u_iso]), **middles))


_axis_classes = lru_cache(maxsize=4096)(axis_classes)


def _spans(limits: tuple[float, float]) -> bool:
    return limits[1] > limits[0]


def evenly(unit: NDArray[np.float64], limits: tuple[float, float]) -> NDArray[np.float64]:
    """Numbers in [0, 1) spread over a range."""
    return limits[0] + (limits[1] - limits[0]) * unit


def evenly_in_inverse(unit: NDArray[np.float64], limits: tuple[float, float]) -> NDArray[np.float64]:
    """Sizes evenly spread in 1/size; a lower limit of 0 stands for particles without a size limit, 1/size = 0."""
    smallest, largest = limits
    inverse = evenly(unit, (0.0 if smallest == 0 else 1 / largest, 1 / largest if smallest == 0 else 1 / smallest))
    return np.divide(1.0, inverse, out=np.zeros_like(inverse), where=inverse > 0)
