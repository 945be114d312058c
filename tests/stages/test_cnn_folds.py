"""Cross-validation of a network over an executor."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models"))

from peaks import CLASSES, Peaks, small

from hpc_mlsm.errors import StoreError
from hpc_mlsm.runtime.inline import InlineExecutor
from hpc_mlsm.stages.cnn_folds import CnnFold, cross_validate_cnn, train_fold
from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.store.schema import Axis, ShardContent, shard_name
from hpc_mlsm.store.shard import write_shard

SETTINGS = small(epochs=6)


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A store of one pattern a structure, and the classes in the order of its ids."""
    peaks = Peaks.make(240, 5)
    with PatternStore.open(tmp_path / "patterns", "a") as store:
        for start in range(0, 240, 80):
            ids = tuple(f"s{k:03d}" for k in range(start, start + 80))
            patterns = 1000 * peaks.patterns[start : start + 80] ** 2
            content = ShardContent(
                kind="powder",
                axis=Axis("two_theta", "degree", peaks.two_theta),
                signal="intensity",
                signal_unit="",
                structure_ids=ids,
                content_hashes=("hash",) * 80,
                base=patterns,
                offsets=np.arange(81, dtype=np.int64),
                patterns=patterns,
                parameters={},
                variants=np.zeros(80, dtype=np.int64),
                config_hash="c",
                engine="native",
                code_version="0",
            )
            store.record(write_shard(store.folder, shard_name("c", [(key, "hash") for key in ids]), content))
    return tmp_path / "patterns", peaks.targets["class"]


def test_every_structure_is_tested_once_by_a_network_that_has_not_seen_it(
    made: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    pytest.importorskip("tensorflow", reason="tensorflow is not installed (extra cnn)")
    store, labels = made
    folds = np.arange(240) % 3
    folds[::10] = -1
    with InlineExecutor() as executor:
        results = list(cross_validate_cnn(executor, store, labels, folds, CLASSES, SETTINGS, tmp_path / "folds", "f"))
    tested = np.concatenate([result.structures for result in results])
    assert sorted(tested) == np.flatnonzero(folds >= 0).tolist()
    for result in results:
        assert (folds[result.structures] == result.fold).all()
        assert np.allclose(result.probabilities.sum(axis=1), 1, atol=1e-5)
        assert len(result.history) == 6
    right = [result.probabilities.argmax(axis=1) == labels[result.structures] for result in results]
    # Always guessing the commonest class gives 0.6.
    assert np.concatenate(right).mean() > 0.7


def test_labels_of_another_store_are_refused(made: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    store, labels = made
    for name in ("labels", "folds"):
        np.save(tmp_path / f"{name}.npy", labels[:-1])
    task = CnnFold(
        "x", store, tmp_path / "labels.npy", tmp_path / "folds.npy", 0, 1, CLASSES, SETTINGS, tmp_path / "x", "f"
    )
    with pytest.raises(StoreError, match="239 labels are for another store, which has 240 structures"):
        train_fold(task)
