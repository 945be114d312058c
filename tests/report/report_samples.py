"""Contents to make reports of, small and with invented numbers that are easy to find again."""

from datetime import datetime

import numpy as np

from hpc_mlsm.archive.candidates import Candidate, Ranking
from hpc_mlsm.archive.pattern import PatternReject
from hpc_mlsm.report.content import (
    Calibration,
    CandidateFit,
    CatalogueSummary,
    GroupSummary,
    ModelScore,
    PatternResult,
    ReportContent,
    StageSummary,
    TrainingSummary,
    WeakSpot,
)
from hpc_mlsm.structures.structure import Reject

R = np.linspace(0.0, 30.0, 301)


def candidate(rank=1, probability=0.95, formula="Ni", symbol="F m -3 m", number=225, correlation=0.9, **changes):
    fields = {
        "pattern": "sample",
        "class_id": f"g-{rank}",
        "name": "nickel",
        "cod_ids": (9008476,),
        "structure_ids": (f"s{rank}",),
        "others": (),
    } | changes
    return Candidate(
        rank=rank,
        probability=probability,
        formula=formula,
        space_group=number,
        space_group_symbol=symbol,
        correlation=correlation,
        **fields,
    )


def fit(label="Ni (F m -3 m)", r_w=0.12, points=R, **changes):
    curve = np.cos(4 * points) * np.exp(-points / 20)
    parameters = {"a": (3.5238, "Å"), "u_iso": (0.0051, "Å²")}
    return CandidateFit(label, curve, 1.02, r_w, **{"correlation": 0.987, "parameters": parameters} | changes)


def pattern(name="sample", candidates=None, fits=None, points=R, **changes):
    candidates = (candidate(1, 0.95), candidate(2, 0.04, "Cu")) if candidates is None else candidates
    fits = (fit(points=points), fit("Cu (F m -3 m)", 0.31, points)) if fits is None else fits
    removed = changes.pop("removed", 0.0)
    return PatternResult(
        name=name,
        source=f"measured/{name}.gr",
        r=points,
        measured=np.cos(4 * points) * np.exp(-points / 18),
        ranking=Ranking(name, tuple(candidates), removed),
        fits=tuple(fits),
        **changes,
    )


def empty_content(**changes):
    return ReportContent(**{"title": "A run", "run": "runs/a", "created": datetime(2026, 3, 14, 9, 26)} | changes)


def full_content(**changes):
    parts = {
        "versions": {"hpc_mlsm": "0.1.0"},
        "settings": {"simulate": {"grid": {"r_max": 30.0}, "u_iso": (0.005, 0.025), "on": True, "no": None}, "seed": 7},
        "catalogue": CatalogueSummary(
            437, 13, {"no_atoms": 9, "unknown_element": 4}, [Reject("x", "x.cif", "no_atoms", "x.cif: no atoms")],
            {"cubic": 200, "monoclinic": 150, "triclinic": 87},
        ),
        "stages": (StageSummary("simulate", "done", 62.0, 40, 0, 43_700, "patterns"),),
        "groups": GroupSummary(0.95, "single", (1,) * 415 + (2,) * 9 + (4,), (("g-9", ("Fe2O3", "Cr2O3"), 0.96),)),
        "training": TrainingSummary(425, 34_960, 4370, 4371, tuple(np.geomspace(5, 0.3, 60)), 40, 1.1, 192.0, "cpu"),
        "scores": (
            ModelScore("XGBoost", {1: 0.912, 3: 0.968, 5: 0.981}, 4371),
            ModelScore("nearest neighbour", {1: 0.814, 3: 0.901, 5: 0.933}, 4371, note="Pearson"),
            ModelScore("commonest class", {1: 0.01, 3: 0.02, 5: 0.03}, 4371, dummy=True),
        ),
        "calibration": Calibration(np.array([0.3, 0.9]), np.array([0.28, 0.91]), np.array([50, 4000]), 0.012),
        "weak_spots": (WeakSpot("g-3", "CoFe2O4", "F d -3 m:2", 10, 0.4, (("Fe3O4", 0.5), ("NiO", 0.1))),),
        "patterns": (pattern(expected="Ni"),),
        "rejected_patterns": (PatternReject("broken", "broken.gr", "too_few_points", "broken.gr: 3 points"),),
    }  # fmt: skip
    return empty_content(**parts | changes)
