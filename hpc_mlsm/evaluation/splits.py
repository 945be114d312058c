"""Which variants a model may learn from, is stopped by, and is judged by."""

import hashlib
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Gt, Lt
from numpy.typing import NDArray

from hpc_mlsm.errors import ConfigError

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class SplitSettings:
    """Shares of each structure's variants kept for validation and test; the rest is for training."""

    validation: Annotated[float, Gt(0), Lt(1)] = 0.1
    test: Annotated[float, Gt(0), Lt(1)] = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.validation + self.test >= 1:
            raise ConfigError(
                f"validation = {self.validation} and test = {self.test} leave nothing to train on; lower one"
            )


def split_variants(structure_id: str, n_variants: int, settings: SplitSettings) -> NDArray[np.int8]:
    """Part of each variant of one structure, shape (n,): an index into PARTS.

    Every structure is in all three parts, with other variants, as in the published work: the test asks whether a
    structure is known again under another strain and displacement, not whether an unknown one is recognised. The split
    depends on the structure id and the seed only, so it does not change when other structures come or go.

    Raises
    ------
    ConfigError
        If nothing would be left to train on.
    """
    n_validation = max(1, round(settings.validation * n_variants))
    n_test = max(1, round(settings.test * n_variants))
    if n_validation + n_test >= n_variants:
        raise ConfigError(
            f"{n_variants} variants a structure are too few to keep {n_validation} for validation and {n_test} for "
            "test; set simulate.variants to 10 or more, or lower split.validation and split.test"
        )
    digest = hashlib.sha256(f"split:{settings.seed}:{structure_id}".encode()).digest()
    order = np.random.default_rng(int.from_bytes(digest[:16], "big")).permutation(n_variants)
    parts = np.zeros(n_variants, dtype=np.int8)
    parts[order[:n_validation]] = PARTS.index("validation")
    parts[order[n_validation : n_validation + n_test]] = PARTS.index("test")
    return parts
