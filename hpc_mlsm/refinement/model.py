"""Phases and instrument together: the fitted curve for a vector of parameters, with the best scales."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from hpc_mlsm.refinement.phase import Block, Phase

Q_DAMP = (0.0, 0.2)
"""Å⁻¹."""

Q_DAMP_START = 0.03


@dataclass(frozen=True)
class Model:
    """One or more phases; the vector x holds those of the phases one after the other, and q_damp where refined."""

    phases: tuple[Phase, ...]

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Fit parameters in their order."""
        found = [block for phase in self.phases for block in phase.blocks]
        if self.refines_q_damp:
            start = self.phases[0].settings.q_damp or Q_DAMP_START
            found.append(Block.one("q_damp", start, Q_DAMP, 0.02))
        return tuple(found)

    @property
    def refines_q_damp(self) -> bool:
        """Whether the last parameter is q_damp."""
        return self.phases[0].settings.refine_q_damp

    @cached_property
    def lowest(self) -> NDArray[np.float64]:
        """Lower bounds of x."""
        return np.concatenate([block.lowest for block in self.blocks])

    @cached_property
    def highest(self) -> NDArray[np.float64]:
        """Upper bounds of x."""
        return np.concatenate([block.highest for block in self.blocks])

    @cached_property
    def scales(self) -> NDArray[np.float64]:
        """Usual changes of x."""
        return np.concatenate([np.full(len(block.names), block.scale) for block in self.blocks])

    @cached_property
    def parts(self) -> tuple[slice, ...]:
        """Where in x each phase is."""
        ends = np.cumsum([sum(len(block.names) for block in phase.blocks) for phase in self.phases])
        return tuple(slice(int(a), int(b)) for a, b in zip([0, *ends[:-1]], ends, strict=True))

    def start(self, values: Mapping[str, float] | None = None) -> NDArray[np.float64]:
        """Where a fit begins: at the values of another one, or at what is usual."""
        several = len(self.phases) > 1
        x = []
        for number, phase in enumerate(self.phases, start=1):
            own = values
            if values is not None and several:
                own = {key.split(":")[0]: one for key, one in values.items() if key.endswith(f":{number}")}
            x.append(phase.start(own))
        if self.refines_q_damp:
            block = self.blocks[-1]
            given = (values or {}).get("q_damp")
            x.append(block.start if given is None else np.clip([given], block.lowest, block.highest))
        return np.concatenate(x)

    def reaching(self, x: NDArray[np.float64]) -> "Model | None":
        """The model with the pairs that x brings into the range, or None if it has them."""
        phases = tuple(phase.reaching(x[part]) for phase, part in zip(self.phases, self.parts, strict=True))
        return None if all(new is old for new, old in zip(phases, self.phases, strict=True)) else Model(phases)

    def curves(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """G(r) of each phase without its scale, shape (P, n)."""
        damping = self._damping(x)[0]
        return np.array([phase.curve(x[part]) * damping for phase, part in zip(self.phases, self.parts, strict=True)])

    def curves_and_gradient(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
        """Curves (P, n), and of each its derivatives by all of x, shape (len(x), n)."""
        damping, by_damping = self._damping(x)
        curves, gradients = [], []
        for phase, part in zip(self.phases, self.parts, strict=True):
            curve, own = phase.curve_and_gradient(x[part])
            gradient = np.zeros((len(x), len(curve)))
            gradient[part] = own * damping
            if self.refines_q_damp:
                gradient[-1] = curve * by_damping
            curves.append(curve * damping)
            gradients.append(gradient)
        return np.array(curves), gradients

    def _damping(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """exp(-(q_damp r)²/2), and its derivative by q_damp."""
        r = self.phases[0].r
        q_damp = float(x[-1]) if self.refines_q_damp else self.phases[0].settings.q_damp
        damping = np.exp(-0.5 * (q_damp * r) ** 2)
        return damping, -q_damp * r**2 * damping


def best_scales(curves: NDArray[np.float64], measured: NDArray[np.float64]) -> NDArray[np.float64]:
    """Factors on the curves (P, n), none negative, that bring their sum nearest to the measurement (n,)."""
    if len(curves) == 1:
        square = float(curves[0] @ curves[0])
        return np.array([max(0.0, float(curves[0] @ measured) / square) if square > 0 else 0.0])
    return np.asarray(nnls(curves.T, measured)[0])
