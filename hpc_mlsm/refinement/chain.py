"""A chain of neighbouring frames, fitted from its most typical one outwards; see ``budget``."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import HpcMlsmError, PatternError, StructureError
from hpc_mlsm.refinement.refine import FitData, Refiner
from hpc_mlsm.refinement.result import Refinement, Values
from hpc_mlsm.scattering.normalise import standardise

Phases = tuple[str, ...]
"""Ids of the structures that make up a candidate: one, or several at once."""

Kind = Literal["component", "representative", "neighbour", "refitted", "skipped", "no candidate", "refused"]

MIXTURE_ABOVE = 0.05
"""An r_w below which no second phase is looked for."""


@dataclass(frozen=True, eq=False)
class FrameFit:
    """What became of one frame.

    Attributes
    ----------
    index
        Of the frame in its chain.
    kind
        How it was fitted, or why not: "skipped" for the budget's sake, "refused" with a reason.
    fit
        The best fit, None where there is none.
    fits
        How many were made.
    doubtful
        Whether it is worse than the last full fit by more than the allowed factor, with no second look left.
    reason, detail
        Code and sentence for a refused frame.
    """

    index: int
    kind: Kind
    fit: Refinement | None = None
    fits: int = 0
    doubtful: bool = False
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Chain:
    """Rules of a chain: see ``BudgetSettings`` and ``BudgetPlan``."""

    candidates: int
    worsen: float
    mixtures: bool
    stride: int = 1
    refits: int | None = None


AS_GOOD = 0.005
"""Fits whose r_w is within this part of the least are as good as each other."""


class _Walk:
    """One chain in progress."""

    def __init__(
        self,
        data: Sequence[FitData],
        candidates: Sequence[Sequence[Phases]],
        refiner: Callable[[Phases], Refiner],
        rules: Chain,
        starts: Mapping[Phases, Values],
    ) -> None:
        self.data, self.candidates, self.refiner, self.rules, self.starts = data, candidates, refiner, rules, starts
        self.left = rules.refits

    def full(self, index: int, kind: Kind, before: Refinement | None, counted: bool) -> FrameFit:
        """Fit a frame with all its candidates; ``before`` is a fit of it that there is already."""
        chosen = self.candidates[index][: self.rules.candidates]
        found = [before] if before is not None else []
        tried = {one.structure_ids for one in found}
        found += [
            self.refiner(phases).fit(self.data[index], self.starts.get(phases))
            for phases in chosen
            if phases not in tried and self._may(counted)
        ]
        best = _best(found)
        if self.rules.mixtures and len(best.structure_ids) == 1 and best.r_w > MIXTURE_ABOVE:
            alone = best
            for other in [one for one in found if one is not best and len(one.structure_ids) == 1]:
                if not self._may(counted):
                    break
                both = alone.structure_ids + other.structure_ids
                found.append(self.refiner(both).fit(self.data[index], _joined(alone, other)))
            mixed = _best(found)
            best = mixed if mixed.r_w * self.rules.worsen < alone.r_w else alone
        return FrameFit(index, kind, best, len(found))

    def outwards(self, frames: Iterable[int], first: FrameFit) -> Iterable[FrameFit]:
        """Fit frames one after the other, each from the one before."""
        current = first.fit
        assert current is not None
        reference = current.r_w
        for index in frames:
            if not self.candidates[index]:
                yield FrameFit(index, "no candidate")
                continue
            try:
                fit = self.refiner(current.structure_ids).fit(self.data[index], current.values)
                done = FrameFit(index, "neighbour", fit, 1)
                if fit.r_w > self.rules.worsen * reference:
                    if self.left is None or self.left > 0:
                        done = self.full(index, "refitted", fit, counted=True)
                        reference = done.fit.r_w if done.fit else reference
                    else:
                        done = FrameFit(index, "neighbour", fit, 1, doubtful=True)
                current = done.fit or current
                yield done
            except HpcMlsmError as error:
                yield refused(index, error)

    def _may(self, counted: bool) -> bool:
        """Whether one more fit may be made; fits beyond a frame's first one are counted."""
        if not counted or self.left is None:
            return True
        self.left -= 1
        return self.left >= 0


def refine_chain(
    data: Sequence[FitData],
    candidates: Sequence[Sequence[Phases]],
    refiner: Callable[[Phases], Refiner],
    rules: Chain,
    starts: Mapping[Phases, Values],
) -> list[FrameFit]:
    """Fit the frames of a chain.

    Parameters
    ----------
    data : sequence of FitData (n,)
    candidates : sequence (n,) of sequences of Phases
        The likeliest first; a frame without any is not fitted.
    refiner : callable
        Gives the structures of a candidate, made ready.
    rules : Chain
    starts : mapping
        Values that a candidate is known to have in this series, from fits of components.

    Returns
    -------
    list of FrameFit
        One for each frame, in their order.
    """
    walk = _Walk(data, candidates, refiner, rules, starts)
    done: dict[int, FrameFit] = {}
    for typical in _most_typical([one.values for one in data], [bool(one) for one in candidates]):
        try:
            done[typical] = walk.full(typical, "representative", None, counted=False)
            break
        except (PatternError, StructureError) as error:
            done[typical] = refused(typical, error)
    fitted = next((one for one in done.values() if one.fit is not None), None)
    if fitted is not None:
        middle, stride = fitted.index, rules.stride
        for frames in (range(middle + stride, len(data), stride), range(middle - stride, -1, -stride)):
            done |= {one.index: one for one in walk.outwards([k for k in frames if k not in done], fitted)}
    left = {k: FrameFit(k, "skipped" if candidates[k] else "no candidate") for k in range(len(data)) if k not in done}
    done |= left
    return [done[k] for k in range(len(data))]


def refused(index: int, error: HpcMlsmError) -> FrameFit:
    """The row of a frame that cannot be fitted."""
    return FrameFit(index, "refused", reason=getattr(error, "reason", type(error).__name__), detail=str(error))


def _best(found: Sequence[Refinement]) -> Refinement:
    """The first of the fits that are as good as the best one: what is likelier wins over what fits the noise."""
    least = min(one.r_w for one in found)
    return next(one for one in found if one.r_w <= (1 + AS_GOOD) * least)


def _most_typical(values: Sequence[NDArray[np.float64]], usable: Sequence[bool]) -> list[int]:
    """Frames with candidates, those that correlate best with the mean of them first."""
    rows = [k for k, one in enumerate(values) if usable[k] and np.isfinite(one).all() and np.any(one)]
    others = [k for k in range(len(values)) if usable[k] and k not in rows]
    if not rows:
        return others
    shapes = standardise(np.array([values[k] for k in rows])).astype(np.float64)
    order = np.argsort(-np.round(shapes @ shapes.mean(axis=0), 6), kind="stable")
    return [rows[int(k)] for k in order] + others


def _joined(first: Refinement, second: Refinement) -> Values:
    """Where a fit of two phases starts: at the values of each alone."""
    shared = {key: value for key, value in first.values.items() if key == "q_damp"}
    return shared | {
        f"{key}:{number}": value
        for number, one in enumerate((first, second), start=1)
        for key, value in one.values.items()
        if key != "q_damp"
    }
