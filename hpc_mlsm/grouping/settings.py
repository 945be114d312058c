"""What a user may choose about grouping."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Gt, Interval

from hpc_mlsm.grouping.products import Device

Linkage = Literal["single", "leader", "complete"]


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """How structures are joined into groups.

    Parameters
    ----------
    threshold : float
        Pearson correlation of two base patterns from which they count as alike, 0 to 1.
    linkage : {"single", "leader", "complete"}
        ``single`` joins along chains, as MLstructureMining does; ``leader`` keeps every member above the threshold
        with one leader; ``complete`` keeps every pair of a group above the threshold.
    memory_mb : int
        Memory (MiB) for one process that correlates: half for pattern blocks, half for the pairs found.
    prune : bool
        Leave out what short bounds prove to be below the threshold, where there are a thousand new patterns at least
        and a sample says that this is faster; the result is the same.
    device : {"auto", "cpu", "cuda"}
        Where patterns are correlated; ``auto`` takes a GPU where CuPy finds one.
    """

    threshold: Annotated[float, Interval(ge=0, le=1)] = 0.95
    linkage: Linkage = "single"
    memory_mb: Annotated[int, Gt(0)] = 1024
    prune: bool = True
    device: Device = "auto"

    @property
    def memory_bytes(self) -> int:
        """``memory_mb`` in bytes."""
        return self.memory_mb * 2**20
