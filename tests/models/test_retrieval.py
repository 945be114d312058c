"""Retrieval is the largest Pearson correlation with any reference of a class, as numpy's own corrcoef has it."""

import numpy as np
import pytest

from hpc_mlsm.models import retrieval
from hpc_mlsm.models.retrieval import Retrieval, references_per_structure


def brute_force(patterns: np.ndarray, references: np.ndarray, labels: np.ndarray, n_classes: int) -> np.ndarray:
    best = np.full((len(patterns), n_classes), -1.0)
    for i, pattern in enumerate(patterns):
        for reference, label in zip(references, labels, strict=True):
            best[i, label] = max(best[i, label], np.corrcoef(pattern, reference)[0, 1])
    return best


@pytest.mark.parametrize("block_bytes", [64e6, 4 * 40 * 3, 1])
def test_it_agrees_with_brute_force_in_any_block_size(block_bytes: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "BLOCK_BYTES", block_bytes)
    generator = np.random.default_rng(0)
    references = (generator.normal(size=(40, 25)) * 7 + 3).astype(np.float32)
    labels = generator.choice([0, 2, 3, 5], size=40)
    patterns = (generator.normal(size=(11, 25)) * 0.01 - 40).astype(np.float32)
    found = Retrieval.of(references, labels, 6).correlations(patterns)
    # float32 products of unit vectors: a few 1e-7.
    assert np.allclose(found, brute_force(patterns, references, labels, 6), atol=1e-6)
    assert found.dtype == np.float32


def test_a_class_without_reference_is_as_far_as_can_be() -> None:
    references = np.random.default_rng(0).normal(size=(4, 9)).astype(np.float32)
    found = Retrieval.of(references, np.array([1, 1, 3, 3]), 5).correlations(references)
    assert (found[:, [0, 2, 4]] == -1).all()
    assert np.allclose(found[[0, 2], [1, 3]], 1.0, atol=1e-6)


def test_scale_and_offset_of_a_pattern_do_not_matter() -> None:
    generator = np.random.default_rng(1)
    references, labels = generator.normal(size=(10, 30)).astype(np.float32), np.arange(10)
    pattern = generator.normal(size=(1, 30))
    plain = Retrieval.of(references, labels, 10).correlations(pattern)
    assert np.allclose(Retrieval.of(references, labels, 10).correlations(1e4 * pattern - 77), plain, atol=1e-6)


def test_a_constant_pattern_correlates_with_nothing() -> None:
    references = np.random.default_rng(0).normal(size=(3, 9)).astype(np.float32)
    assert (Retrieval.of(references, np.arange(3), 3).correlations(np.full((1, 9), 4.2)) == 0).all()


def test_without_references_or_patterns_there_is_nothing_to_find() -> None:
    empty = Retrieval.of(np.zeros((0, 9), np.float32), np.zeros(0, np.int64), 3)
    assert (empty.correlations(np.ones((2, 9))) == -1).all()
    assert empty.correlations(np.ones((0, 9))).shape == (0, 3)


def test_references_are_limited_by_memory_and_by_what_there_is() -> None:
    # 100 structures of 300 points take 120 kB a pattern each.
    assert references_per_structure(100, 80, 300, memory_mb=1) == 8
    assert references_per_structure(100, 5, 300, memory_mb=1) == 5
    assert references_per_structure(10**6, 80, 300, memory_mb=1) == 1
