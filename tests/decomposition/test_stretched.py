"""Phases that expand along a series are one component each, where components may stretch."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from hpc_mlsm.decomposition import decomposition
from hpc_mlsm.decomposition.decomposition import Decomposition, decompose
from hpc_mlsm.decomposition.nonnegative import Components
from hpc_mlsm.decomposition.settings import DecomposeSettings
from hpc_mlsm.decomposition.stretched import Stretched, stretched_curves, stretched_weights
from hpc_mlsm.errors import ConfigError, PatternError
from hpc_mlsm.scattering.conditions import PdfConditions, PdfGrid
from hpc_mlsm.scattering.engines import native_engine
from hpc_mlsm.structures.starter import starter_set

GRID = PdfGrid(1.5, 15.0, 0.1)
N = 12
PLACE = np.linspace(0, 1, N)
EXPANSION = np.stack([1 + 0.012 * PLACE, 1 + 0.008 * PLACE], axis=1)
WEIGHTS = np.stack([1 / (1 + np.exp(10 * (PLACE - 0.5))), 1 / (1 + np.exp(-10 * (PLACE - 0.5)))], axis=1)
STRETCHED = DecomposeSettings(method="stretched-nmf", starts=2, components=2)


def pdf(formula: str, scale: float) -> NDArray[np.float64]:
    structure = next(one for one in starter_set() if one.formula == formula)
    conditions = PdfConditions.uniform(1, u_iso=0.008, q_damp=0.03, q_min=0.5, q_max=23.0)
    return np.asarray(native_engine(structure, np.full((1, 3), scale), conditions, GRID)[0])


def heated() -> NDArray[np.float32]:
    """NaCl that turns into Si, both expanding."""
    curves = np.array([[pdf(name, s) for name, s in zip(("NaCl", "Si"), own, strict=True)] for own in EXPANSION])
    patterns = np.einsum("nk,nkp->np", WEIGHTS, curves)
    patterns += 0.02 * patterns.std() * np.random.default_rng(0).normal(size=patterns.shape)
    return patterns.astype(np.float32)


def taken_apart(settings: DecomposeSettings) -> Decomposition:
    patterns = heated()
    return decompose(lambda a, b: patterns[a:b], *patterns.shape, settings, r=GRID.r)


def likeness(found: Decomposition) -> NDArray[np.float64]:
    """Largest Pearson correlation of each phase, at its best scale, with a component."""
    best = []
    for name, own in (("NaCl", 0), ("Si", 1)):
        truth = np.array([pdf(name, s) for s in np.linspace(1.0, EXPANSION[-1, own], 9)])
        best.append(np.corrcoef(np.vstack([truth, found.components.curves]))[:9, 9:].max())
    return np.array(best)


@pytest.mark.slow
def test_a_phase_that_expands_is_one_component_that_stretches() -> None:
    pytest.importorskip("diffpy.stretched_nmf")
    plain = taken_apart(replace(STRETCHED, method="nmf"))
    found = taken_apart(replace(STRETCHED, components=None))
    assert plain.proposal.components == 3
    assert len(found.components.curves) == 2
    assert found.components.left < 0.03 < 0.1 < plain.components.left
    assert likeness(found).min() > 0.995
    assert np.abs(found.weights - WEIGHTS).max() < 0.03
    assert found.stretch is not None
    for phase in (0, 1):
        there = WEIGHTS[:, phase] > 0.2
        expansion = EXPANSION[there, phase] / EXPANSION[there, phase].mean()
        stretch = found.stretch[there, phase] / found.stretch[there, phase].mean()
        np.testing.assert_allclose(stretch, expansion, atol=5e-4)


def test_curves_that_are_stretched_are_those_of_the_larger_cell() -> None:
    larger = stretched_curves(pdf("Si", 1.0)[None], GRID.r, np.array([1.01]))[0]
    inside = GRID.r < 14.5
    np.testing.assert_allclose(larger[inside], pdf("Si", 1.01)[inside], atol=0.03 * pdf("Si", 1.0).max())


def test_weights_of_stretched_components_are_those_that_patterns_were_mixed_of() -> None:
    curves = np.array([pdf("NaCl", 1.0), pdf("Si", 1.0)])
    factors = np.array([[1.0, 1.01], [1.004, 0.995]])
    mixed = np.array(
        [w @ stretched_curves(curves, GRID.r, s) for w, s in zip(([0.3, 0.7], [2, 0]), factors, strict=True)]
    )
    weights, left = stretched_weights(mixed, GRID.r, curves, factors)
    np.testing.assert_allclose(weights, [[0.3, 0.7], [2, 0]], atol=1e-9)
    assert np.abs(left).max() < 1e-9


def test_what_is_missing_is_named_with_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffpy.stretched_nmf.snmf_class", None)
    with pytest.raises(ConfigError, match=r"pip install 'hpc_mlsm\[stretched-nmf\]'"):
        taken_apart(STRETCHED)


def test_components_that_stretch_need_an_abscissa_and_cannot_be_held() -> None:
    patterns = heated()
    with pytest.raises(PatternError, match="along an abscissa"):
        decompose(lambda a, b: patterns[a:b], *patterns.shape, STRETCHED)
    with pytest.raises(ConfigError, match="cannot be held fixed"):
        DecomposeSettings(method="stretched-nmf", known=("pure.gr",))  # type: ignore[arg-type]


def test_components_stay_as_they_were_where_stretching_them_leaves_more(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = taken_apart(replace(STRETCHED, method="nmf"))

    def worse(patterns: NDArray[np.float64], r: NDArray[np.float64], first: Components, iterations: int) -> Stretched:
        return Stretched(replace(first, left=0.5), np.full((len(patterns), len(first.curves)), 1.1))

    monkeypatch.setattr(decomposition, "stretch_components", worse)
    found = taken_apart(STRETCHED)
    assert found.stretch is not None
    np.testing.assert_array_equal(found.stretch, np.ones((N, 2)))
    np.testing.assert_allclose(found.weights, plain.weights, atol=1e-6)
