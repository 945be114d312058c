"""The refinement of a series as arrays over its frames, put together from shards."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import StoreError
from hpc_mlsm.refinement.rows import read_table

NOT_DONE = "set aside"
"""Kind of a frame that no shard has."""

_TEXTS = ("kind", "phases", "reason", "notes")
_NUMBERS = {"r_w": np.float64, "converged": np.bool_, "fits": np.int32, "doubtful": np.bool_}


@dataclass(frozen=True, eq=False)
class GatheredFits:
    """Results of n frames.

    Attributes
    ----------
    kind, phases, reason, notes
        Texts (n,): how a frame was fitted, with which structures, why the fit ended or the frame was refused, remarks.
    r_w, converged, fits, doubtful
        Arrays (n,); r_w is NaN where there is no fit.
    values, uncertainties, at_bound
        By key, arrays (n,); NaN where the frame's fit has no such parameter.
    units
        By key.
    calculated
        Fitted curves (n, points), NaN where there is no fit.
    """

    kind: NDArray[np.object_]
    phases: NDArray[np.object_]
    reason: NDArray[np.object_]
    notes: NDArray[np.object_]
    r_w: NDArray[np.float64]
    converged: NDArray[np.bool_]
    fits: NDArray[np.int32]
    doubtful: NDArray[np.bool_]
    values: dict[str, NDArray[np.float64]]
    uncertainties: dict[str, NDArray[np.float64]]
    at_bound: dict[str, NDArray[np.bool_]]
    units: dict[str, str]
    calculated: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.r_w)


def gather(shards: Sequence[Path], n: int, points: int) -> GatheredFits:
    """Results of n frames of so many points.

    Raises
    ------
    StoreError
        If a shard cannot be read, or holds other frames than these.
    """
    texts = {name: np.full(n, "", dtype=object) for name in _TEXTS}
    texts["kind"][:] = NOT_DONE
    numbers: dict[str, Any] = {name: np.zeros(n, dtype=kind) for name, kind in _NUMBERS.items()}
    numbers["r_w"][:] = np.nan
    calculated = np.full((n, points), np.nan, dtype=np.float32)
    wide: dict[str, _Column] = {}
    for path in shards:
        table = read_table(path)
        frames = table["frame"].to_numpy()
        if len(frames) and not (frames.min() >= 0 and frames.max() < n):
            raise StoreError(f"{path}: holds frames {frames.min()} to {frames.max()} of a series of {n}; refine again")
        for name in _TEXTS:
            texts[name][frames] = table[name].to_pylist()
        for name in _NUMBERS:
            numbers[name][frames] = table[name].to_numpy()
        _spread(table, frames, wide, n)
        lists = table["calculated"].combine_chunks()
        fitted = frames[np.diff(lists.offsets.to_numpy()) > 0]
        curves = lists.flatten().to_numpy()
        if len(curves) != len(fitted) * points:
            raise StoreError(f"{path}: curves do not have {points} points; refine again")
        calculated[fitted] = curves.reshape(-1, points)
    keys = sorted(wide, key=_order)
    return GatheredFits(
        **texts,
        **numbers,
        values={key: wide[key].values for key in keys},
        uncertainties={key: wide[key].uncertainties for key in keys},
        at_bound={key: wide[key].at_bound for key in keys},
        units={key: wide[key].unit for key in keys},
        calculated=calculated,
    )


class _Column:
    """One parameter over all frames."""

    def __init__(self, n: int, unit: str) -> None:
        self.unit = unit
        self.values, self.uncertainties = np.full(n, np.nan), np.full(n, np.nan)
        self.at_bound = np.zeros(n, dtype=bool)


def _spread(table: Any, frames: NDArray[np.int64], wide: dict[str, _Column], n: int) -> None:
    """Lists of keys and values, one list a frame, into one array a key."""
    row = np.repeat(frames, np.diff(table["keys"].combine_chunks().offsets.to_numpy()))
    keys, units, values, uncertainties, at_bound = (
        table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        for name in ("keys", "units", "values", "uncertainties", "at_bound")
    )
    for key in dict.fromkeys(keys.tolist()):
        mine = keys == key
        column = wide.setdefault(key, _Column(n, str(units[mine][0])))
        column.values[row[mine]] = values[mine]
        column.uncertainties[row[mine]] = uncertainties[mine]
        column.at_bound[row[mine]] = at_bound[mine]


_NAMES = ("scale", "a", "b", "c", "alpha", "beta", "gamma", "u_iso", "delta1", "delta2", "diameter", "q_damp")


def _order(key: str) -> tuple[str, int, str]:
    """First the only phase, then one phase after the other, parameters in their usual order."""
    name, _, phase = key.partition(":")
    usual = next((k for k, one in enumerate(_NAMES) if name == one), _NAMES.index("u_iso"))
    return phase, usual, name
