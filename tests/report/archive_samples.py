"""Answers on archives that reports are tried with: a synthetic archive of known phases, with made-up fits."""

from datetime import datetime
from functools import cache

import numpy as np

from hpc_mlsm.archive.candidates import Candidate, Ranking
from hpc_mlsm.archive.pattern import PatternReject
from hpc_mlsm.archive.synthetic_archive import Crystallisation, phase_curves, synthetic_rows
from hpc_mlsm.decomposition.decomposition import decompose
from hpc_mlsm.decomposition.settings import DecomposeSettings
from hpc_mlsm.models.classes import ClassEntry, MemberEntry
from hpc_mlsm.refinement.gathered import GatheredFits
from hpc_mlsm.report.archive_answer import SET_ASIDE, ArchiveAnswer, SeriesAxis, ShownFit
from hpc_mlsm.report.binning import Bins
from hpc_mlsm.report.content import CandidateFit, StageSummary
from hpc_mlsm.structures.starter import starter_set


@cache
def sample_answer(frames: int = 240, *, bare: bool = False) -> ArchiveAnswer:
    """What could be found of a crystallisation; ``bare`` without decomposition and fits."""
    structures = [one for formula in ("Fe2O3", "TiO2") for one in starter_set() if one.formula == formula][:2]
    what = Crystallisation(frames=frames)
    curves = phase_curves(structures, what)
    used = np.array([k for k in range(frames) if k not in (3, 4, frames // 2)])
    rows = synthetic_rows(curves, what, 0, frames)[used]
    found = decompose(
        lambda a, b: rows[a:b],
        *rows.shape,
        DecomposeSettings(components=3, starts=2, fit_frames=100, matrix_frames=100),
    )
    shares = what.shares()
    classes = tuple(_entry(structure) for structure in structures)
    order = np.argsort(-shares[:, 1:], axis=1).astype(np.int32)
    probability = np.take_along_axis(shares[:, 1:], order, axis=1) * 0.96 + 0.02
    verdict = np.where(shares[:, 0] > 0.6, 3, np.where(probability[:, 0] > 0.8, 0, 1)).astype(np.int8)
    reason = np.where(verdict == 1, "two classes share the probability", "").astype(object)
    gone = np.setdiff1d(np.arange(frames), used)
    verdict[gone], order[gone], probability[gone] = SET_ASIDE, -1, np.nan
    rejects = tuple(PatternReject(f"frame {k}", "archive.h5", "not_finite", "1 of 301 points is NaN") for k in gone)
    answer = ArchiveAnswer(
        title="night-7: what is in the archive",
        archive="archive.h5::/entry/data/G",
        run="runs/night-7",
        created=datetime(2026, 11, 28, 6, 30),
        names=[f"frame {k}" for k in range(frames)],
        axis=SeriesAxis("time", "min", np.linspace(0, 600, frames)),
        grid=what.grid.r,
        classes=classes,
        top=order,
        probability=probability.astype(np.float32),
        verdict=verdict,
        reason=list(reason),
        used=used,
        patterns=Bins(found.bounds).mean(rows).astype(np.float32),
        rejects=rejects,
        stages=(StageSummary("predict", "done", 12.3, 3, 0, len(used), "frames"),),
        settings={"decompose": {"components": 3, "starts": 2}},
        provenance={"model": "runs/cod/models/boosted", "model_hash": "0123456789abcdef", "hpc_mlsm": "0.1.0"},
        synthetic=("The archive is synthetic (simulated, not measured).",),
    )
    return answer if bare else _with_fits(answer, found, structures)


def _entry(structure):
    member = MemberEntry(
        structure.id, structure.formula, structure.space_group, structure.space_group_symbol, None,
        frozenset(structure.elements), structure.name,
    )  # fmt: skip
    return ClassEntry(structure.id, (member,), structure.id)


def _with_fits(answer, found, structures):
    n, generator = answer.n, np.random.default_rng(0)
    best = answer.top[:, 0]
    fitted = (best >= 0) & (answer.verdict != 3)
    a = np.where(best == 0, 5.03, 4.59) + 1e-5 * np.arange(n) + generator.normal(scale=3e-4, size=n)
    values = {"scale": np.full(n, 0.98), "a": a, "c": a * 0.64, "u_iso": 0.008 + 1e-6 * np.arange(n)}
    values |= {"delta2": np.full(n, 2.1) + generator.normal(scale=0.1, size=n)}
    errors = {key: np.full(n, 3e-4 if key in "ac" else 2e-4) for key in values}
    hide = {key: np.where(fitted, one, np.nan) for key, one in values.items()}
    phases = np.array([structures[k].id if good else "" for k, good in zip(best, fitted, strict=True)], dtype=object)
    r_w = np.where(fitted, 0.12 + 0.1 * generator.random(n), np.nan)
    fits = GatheredFits(
        kind=np.where(fitted, "neighbour", "no candidate").astype(object),
        phases=phases,
        reason=np.full(n, "", dtype=object),
        notes=np.where(r_w > 0.215, "worse than the frame before", "").astype(object),
        r_w=r_w,
        converged=fitted,
        fits=fitted.astype(np.int32),
        doubtful=r_w > 0.215,
        values=hide,
        uncertainties={key: np.where(fitted, one, np.nan) for key, one in errors.items()},
        at_bound={key: np.zeros(n, dtype=bool) for key in values},
        units={"scale": "", "a": "Å", "c": "Å", "u_iso": "Å²", "delta2": "Å²"},
        calculated=np.zeros((n, 0), dtype=np.float32),
    )
    shown = tuple(_shown(answer, k, found) for k in (found.n - 5, found.n // 2))
    rankings = tuple(_ranking(answer, k) for k in range(len(found.components.curves)))
    changes = dict(answer.__dict__) | {
        "decomposition": found,
        "component_candidates": rankings,
        "component_verdicts": ("amorphous or noise", "confident", "confident"),
        "fits": fits,
        "best_fits": shown[:1],
        "worst_fits": shown[1:],
    }
    return ArchiveAnswer(**changes)


def _ranking(answer, number):
    entry = answer.classes[number % 2].representative_member
    candidate = Candidate(
        f"component {number + 1}", 1, 0.9, entry.id, entry.formula, entry.space_group, entry.space_group_symbol,
        entry.name, (), (entry.id,), (), 0.9,
    )  # fmt: skip
    return Ranking(candidate.pattern, (candidate,))


def _shown(answer, row, found):
    curve = found.weights[row] @ found.components.curves
    measured = curve + np.random.default_rng(row).normal(scale=0.2, size=len(curve))
    fit = CandidateFit(
        answer.label(1), curve, 1.0, 0.14, 0.99, {"a": (4.5937, "angstrom"), "u_iso": (0.008, "angstrom^2")}
    )
    return ShownFit(f"frame {row}", f"{row * 2.5:.4g} min", answer.grid, measured, fit)
