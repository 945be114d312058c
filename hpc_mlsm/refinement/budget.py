"""How many fits a series of frames gets, and which.

Not every frame is fitted with every candidate. Components of a decomposition are fitted with their candidates first.
The frames are cut into chains; of each chain the most typical frame is fitted with its candidates, and its neighbours
one after the other with the structure, and from the values, of the frame before. Where a fit is worse than the last
full one by more than a factor, that frame is fitted with all its candidates.
"""

from dataclasses import dataclass, replace
from typing import Annotated

from annotated_types import Ge, Gt, Interval

from hpc_mlsm.errors import PlanError


@dataclass(frozen=True)
class BudgetSettings:
    """What refinement of a series may cost, and how it is spent.

    Attributes
    ----------
    fits
        The most fits; None sets no limit.
    core_hours
        The most time, by the projected time of a fit; None sets no limit.
    candidates
        Candidates that a frame is fitted with at most.
    chain
        Frames of a chain, which is fitted from its most typical frame outwards.
    worsen
        By what factor r_w may exceed that of the last fit with all candidates before there is another such fit.
    mixtures
        Whether the best candidate is also tried together with each of the others, as two phases.
    """

    fits: Annotated[int, Ge(1)] | None = None
    core_hours: Annotated[float, Gt(0)] | None = None
    candidates: Annotated[int, Interval(ge=1, le=20)] = 3
    chain: Annotated[int, Interval(ge=1, le=100_000)] = 40
    worsen: Annotated[float, Gt(1)] = 1.2
    mixtures: bool = False

    @property
    def full(self) -> int:
        """Fits of a frame with all its candidates, at most."""
        return self.candidates + (self.candidates - 1 if self.mixtures else 0)


@dataclass(frozen=True)
class BudgetPlan:
    """What a budget buys.

    Attributes
    ----------
    chain, n_chains
        Frames of a chain, and how many there are.
    stride
        Of a chain's frames every so-manieth is fitted.
    refits
        Fits of each chain beyond the first one of each frame; None for as many as frames turn out worse.
    components, representatives, neighbours
        Fits of components, of the typical frames of chains, and of the other frames, at most.
    fitted
        Frames that are fitted.
    seconds_per_fit
        Projected, on one core.
    """

    chain: int
    n_chains: int
    stride: int
    refits: int | None
    components: int
    representatives: int
    neighbours: int
    fitted: int
    seconds_per_fit: float

    @property
    def least(self) -> int:
        """Fits if no frame turns out worse than the one before, and every component and frame has all candidates."""
        return self.components + self.representatives + self.neighbours

    @property
    def most(self) -> int | None:
        """Fits that are never exceeded; None without a limit."""
        return None if self.refits is None else self.least + self.n_chains * self.refits

    @property
    def core_hours(self) -> float:
        """Projected for ``least``."""
        return self.least * self.seconds_per_fit / 3600


def plan_budget(n_frames: int, n_components: int, settings: BudgetSettings, seconds_per_fit: float) -> BudgetPlan:
    """Spend a budget: first on components and typical frames, then on neighbours, and what is left on second looks.

    A budget that is too small for all frames fits every second one, every third, …, then makes chains longer.

    Raises
    ------
    PlanError
        If it is too small for the components and one frame.
    """
    limit = _limit(settings, seconds_per_fit)
    components = n_components * settings.full
    chain, stride = min(settings.chain, max(n_frames, 1)), 1
    plan = _plan(n_frames, components, chain, stride, settings, seconds_per_fit)
    if limit is None:
        return plan
    while plan.least > limit:
        if stride < chain:
            stride += 1
        elif chain < n_frames:
            chain = stride = min(2 * chain, n_frames)
        else:
            raise PlanError(
                f"the budget of {limit} fits is less than the {plan.least} that {n_components} components and one "
                f"frame with up to {settings.candidates} candidates need; raise refine.budget.fits or core_hours, or "
                "lower refine.budget.candidates"
            )
        plan = _plan(n_frames, components, chain, stride, settings, seconds_per_fit)
    return replace(plan, refits=(limit - plan.least) // max(plan.n_chains, 1))


OFFERED = (0.5, 0.2, 0.05)
"""Shares of what all frames would take, of which is said what they buy."""


def offers(
    n_frames: int, n_components: int, settings: BudgetSettings, seconds_per_fit: float
) -> tuple[BudgetPlan, ...]:
    """What smaller budgets would buy: first none that limits, then shares of what that takes at least."""
    whole = replace(settings, fits=None, core_hours=None)
    first = plan_budget(n_frames, n_components, whole, seconds_per_fit)
    found = [first]
    for share in OFFERED:
        fits = int(share * first.least)
        if fits <= (n_components + 1) * settings.full:
            break
        found.append(plan_budget(n_frames, n_components, replace(whole, fits=fits), seconds_per_fit))
    return tuple(found)


def _limit(settings: BudgetSettings, seconds_per_fit: float) -> int | None:
    limits = [] if settings.fits is None else [settings.fits]
    if settings.core_hours is not None:
        limits.append(int(settings.core_hours * 3600 / seconds_per_fit))
    return min(limits, default=None)


def _plan(
    n_frames: int, components: int, chain: int, stride: int, settings: BudgetSettings, seconds_per_fit: float
) -> BudgetPlan:
    lengths = [min(chain, n_frames - start) for start in range(0, n_frames, chain)]
    # A chain may begin anywhere in itself, so that up to two frames more than length / stride are met.
    neighbours = sum(min(length - 1, (length - 1) // stride + (1 if stride > 1 else 0)) for length in lengths)
    return BudgetPlan(
        chain=chain,
        n_chains=len(lengths),
        stride=stride,
        refits=None,
        components=components,
        representatives=len(lengths) * settings.full,
        neighbours=neighbours,
        fitted=len(lengths) + neighbours,
        seconds_per_fit=seconds_per_fit,
    )
