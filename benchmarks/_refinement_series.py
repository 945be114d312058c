"""A synthetic series of frames, refined under several budgets."""

import time
from typing import Any

import numpy as np

from hpc_mlsm.refinement.budget import BudgetSettings, plan_budget
from hpc_mlsm.refinement.chain import Chain, FrameFit, Phases, refine_chain
from hpc_mlsm.refinement.refine import FitData, Refiner
from hpc_mlsm.refinement.settings import RefineSettings
from hpc_mlsm.scattering.conditions import PdfConditions, PdfGrid
from hpc_mlsm.scattering.engines import native_engine
from hpc_mlsm.structures.starter import starter_set

GRID = PdfGrid(1.5, 20.0, np.pi / 20)
Q_RANGE = (0.5, 20.0)
FIT = RefineSettings(r_max=20.0)
NAMES = ("TiO2-anatase", "TiO2-rutile", "ZrO2-baddeleyite")
NOISE = 0.05
NODES = (1, 10, 1000)
CORES = 64
ARCHIVE = 1_000_000


def budget_rows(n_frames: int) -> list[dict[str, Any]]:
    """Fits, time and answers of a series that changes from anatase to rutile while it warms, under budgets."""
    structures = {one.id: one for one in starter_set() if one.id.removeprefix("starter/") in NAMES}
    candidates: list[Phases] = [(f"starter/{name}",) for name in NAMES]
    data, truth = _frames(n_frames, structures)
    ready: dict[Phases, Refiner] = {}

    def refiner(phases: Phases) -> Refiner:
        if phases not in ready:
            ready[phases] = Refiner([structures[key] for key in phases], GRID, Q_RANGE, FIT)
        return ready[phases]

    for phases in candidates:
        refiner(phases).fit(data[0])  # compiles
    rows, everything = [], 3 * n_frames
    for share in (None, 0.5, 0.34, 0.2, 0.05):
        settings = BudgetSettings(fits=None if share is None else int(share * everything))
        plan = plan_budget(n_frames, 0, settings, 5e-3)
        rules = Chain(settings.candidates, settings.worsen, False, plan.stride, plan.refits)
        begin = time.process_time()
        found: list[FrameFit] = []
        for first in range(0, n_frames, plan.chain):
            part = data[first : first + plan.chain]
            found += refine_chain(part, [candidates] * len(part), refiner, rules, {})
        rows.append(_row(f"{'no limit' if share is None else f'{settings.fits} fits'}", found, truth, begin))
    begin = time.process_time()
    every = max(1, n_frames // 300)
    blind = [min((refiner(one).fit(frame) for one in candidates), key=lambda fit: fit.r_w) for frame in data[::every]]
    found = [FrameFit(k, "representative", fit, 3) for k, fit in enumerate(blind)]
    row = _row(f"every frame with every candidate (each {every}th measured)", found, truth[::every], begin)
    rows.append(row | {"fits": everything, "cpu_s": row["cpu_s"] * n_frames / len(blind), "fitted": n_frames})
    for row in rows:
        for nodes in NODES:
            seconds = row["cpu_s"] * ARCHIVE / n_frames / (nodes * CORES)
            row[f"hours_10^6_frames_{nodes}_nodes"] = seconds / 3600
    return rows


def _frames(n: int, structures: dict[str, Any]) -> tuple[list[FitData], list[str]]:
    rng = np.random.default_rng(0)
    data, truth = [], []
    for k in range(n):
        place = k / n
        key = f"starter/{NAMES[0] if place < 0.4 else NAMES[1]}"
        conditions = PdfConditions.uniform(
            1, u_iso=0.005 + 0.006 * place, q_damp=0.03, q_min=Q_RANGE[0], q_max=Q_RANGE[1]
        )
        curve = native_engine(structures[key], np.full((1, 3), 1 + 0.01 * place), conditions, GRID)[0]
        noisy = curve + NOISE * curve.std() * rng.normal(size=len(curve))
        data.append(FitData(GRID, noisy, *Q_RANGE, name=f"frame {k}"))
        truth.append(key)
    return data, truth


def _row(budget: str, found: list[FrameFit], truth: list[str], begin: float) -> dict[str, Any]:
    seconds = time.process_time() - begin
    fitted = [(one, key) for one, key in zip(found, truth, strict=True) if one.fit is not None]
    fits = sum(one.fits for one in found)
    return {
        "budget": budget,
        "frames": len(found),
        "fitted": len(fitted),
        "fits": fits,
        "refitted": sum(one.kind == "refitted" for one in found),
        "right": float(np.mean([one.fit.structure_ids == (key,) for one, key in fitted if one.fit])),
        "median_r_w": float(np.median([one.fit.r_w for one, _ in fitted if one.fit])),
        "cpu_s": seconds,
        "fits_per_s": fits / seconds,
    }
