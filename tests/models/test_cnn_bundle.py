"""A trained network in its folder."""

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from peaks import CLASSES, POINTS, VALIDATION, small

from hpc_mlsm.errors import BundleError, PatternError, StoreError
from hpc_mlsm.models.cnn_bundle import MANIFEST, CnnBundle, CnnInfo, load_cnn, save_cnn
from hpc_mlsm.models.cnn_model import CnnModel
from hpc_mlsm.models.cnn_networks import build_network

pytest.importorskip("keras", reason="tensorflow is not installed (extra cnn)")


def made(seed: int) -> CnnBundle:
    settings = small(seed=seed)
    weights = build_network(settings, POINTS, CLASSES).get_weights()
    info = CnnInfo(("a", "b", "c"), (5.0, 0.5, POINTS), 1.54056, 2.0, f"f{seed}", {"a": 3, "b": 2, "c": 1})
    return CnnBundle(info, CnnModel.of(settings, POINTS, CLASSES, weights))


@pytest.fixture(scope="module")
def bundles() -> list[CnnBundle]:
    return [made(0), made(1)]


def test_it_comes_back_as_it_was_saved_and_replaces_the_old_one(bundles: list[CnnBundle], tmp_path: Path) -> None:
    for bundle in bundles:
        save_cnn(bundle, tmp_path / "cnn")
        assert load_cnn(tmp_path / "cnn") == bundle
        assert len(list((tmp_path / "cnn").iterdir())) == 2
    loaded = pickle.loads(pickle.dumps(load_cnn(tmp_path / "cnn")))
    patterns = 100 * VALIDATION.patterns[:4]
    assert np.array_equal(loaded.probabilities(patterns), bundles[1].probabilities(patterns))
    assert loaded.info.two_theta[[0, -1]].tolist() == [5.0, 5.0 + 0.5 * (POINTS - 1)]


def test_probabilities_are_the_softmax_of_scores_over_the_temperature(bundles: list[CnnBundle]) -> None:
    patterns = VALIDATION.patterns[:6]
    scores = np.exp(bundles[0].model.margins(patterns).astype(float) / 2.0)
    expected = scores / scores.sum(axis=1, keepdims=True)
    assert np.allclose(bundles[0].probabilities(patterns), expected, atol=1e-6)


def test_values_that_are_not_finite_are_refused(bundles: list[CnnBundle]) -> None:
    patterns = VALIDATION.patterns[:2].copy()
    patterns[1, 7] = np.nan
    with pytest.raises(PatternError, match="not finite"):
        bundles[0].probabilities(patterns)


@pytest.mark.parametrize("name", ["network-*.keras", MANIFEST])
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-2]),
        lambda path: path.write_bytes(path.read_bytes().replace(b"1", b"2")),
    ],
    ids=["missing", "empty", "cut", "changed"],
)
def test_a_damaged_file_is_found(
    bundles: list[CnnBundle], tmp_path: Path, name: str, damage: Callable[[Path], object]
) -> None:
    save_cnn(bundles[0], tmp_path)
    (path,) = tmp_path.glob(name)
    damage(path)
    with pytest.raises(BundleError, match="train"):
        load_cnn(tmp_path)


def test_a_table_of_another_network_is_refused(bundles: list[CnnBundle], tmp_path: Path) -> None:
    wrong = replace(bundles[0], info=replace(bundles[0].info, classes=("a", "b")))
    with pytest.raises(BundleError, match=r"takes 128 points and knows 3 classes, its table says 128 and 2"):
        save_cnn(wrong, tmp_path)


def test_one_of_another_version_is_refused_and_left_alone(bundles: list[CnnBundle], tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(json.dumps({"schema": 2}))
    with pytest.raises(BundleError, match="a network of version 2, this program needs 1"):
        load_cnn(tmp_path)


def test_a_full_disk_leaves_the_old_one(bundles: list[CnnBundle], small_disk: Path) -> None:
    save_cnn(bundles[0], small_disk)
    large = replace(bundles[1], model=replace(bundles[1].model, image=bytes(2_000_000)))
    with pytest.raises(StoreError, match="No space left on device"):
        save_cnn(large, small_disk)
    assert load_cnn(small_disk) == bundles[0]
