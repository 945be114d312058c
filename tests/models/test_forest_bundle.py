"""A saved forest predicts what it did before, and is refused where it is not what was saved."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from forest_samples import rows

from hpc_mlsm.errors import BundleError
from hpc_mlsm.models import forest_bundle
from hpc_mlsm.models.forest import _joined, _one_tree
from hpc_mlsm.models.forest_bundle import MANIFEST, Forest, ForestInfo, load_forest, save_forest
from hpc_mlsm.models.forest_settings import ForestSettings
from hpc_mlsm.models.peak_features import NOISY

SETTINGS = ForestSettings(trees=5)
INFO = ForestInfo(
    ("triclinic", "monoclinic", "orthorhombic", "cubic", "absent"), (0.0, 0.02, 4501), 1.54056, SETTINGS, NOISY, "f",
    {"triclinic": 60, "monoclinic": 60, "orthorhombic": 60, "cubic": 60, "absent": 0},
)  # fmt: skip


def forest(info: ForestInfo = INFO) -> Forest:
    data = rows(kind=info.settings.kind)
    trees = [_one_tree(info.settings, k, data.features, data.labels) for k in range(info.settings.trees)]
    return Forest(info, _joined(trees, info.settings))


def patterns() -> np.ndarray:
    rng = np.random.default_rng(4)
    x = INFO.two_theta
    centres = np.sort(rng.uniform(8, 85, (6, 14)), axis=1)
    return np.exp(-(((x[None, None] - centres[:, :, None]) / 0.1) ** 2)).sum(axis=1)


@pytest.mark.parametrize("kind", ["random_forest", "extra_trees"])
def test_a_loaded_forest_predicts_the_same(tmp_path: Path, kind: str) -> None:
    saved = forest(replace(INFO, settings=replace(SETTINGS, kind=kind)))  # type: ignore[arg-type]
    save_forest(saved, tmp_path / "m")
    loaded = load_forest(tmp_path / "m")
    assert loaded.info == saved.info
    expected = saved.probabilities(patterns())
    np.testing.assert_array_equal(loaded.probabilities(patterns()), expected)
    assert expected.shape == (6, 5)
    np.testing.assert_allclose(expected.sum(axis=1), 1.0)
    assert not expected[:, 4].any()
    assert not loaded.peaks(patterns()).few.any()
    assert loaded.probabilities(patterns()[:0]).shape == (0, 5)


def test_a_second_forest_replaces_the_first_whole(tmp_path: Path) -> None:
    save_forest(forest(), tmp_path)
    save_forest(forest(replace(INFO, settings=replace(SETTINGS, seed=3), fingerprint="g")), tmp_path)
    assert load_forest(tmp_path).info.fingerprint == "g"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut", "lost", "altered manifest", "no manifest", "other schema"])
def test_a_damaged_forest_is_refused(tmp_path: Path, damage: str) -> None:
    save_forest(forest(), tmp_path)
    (model,) = tmp_path.glob("*.skops")
    manifest = tmp_path / MANIFEST
    if damage == "cut":
        model.write_bytes(model.read_bytes()[:-10])
    elif damage == "lost":
        model.unlink()
    elif damage == "altered manifest":
        manifest.write_text(manifest.read_text().replace('"cubic"', '"square"'))
    elif damage == "other schema":
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"schema": 9}))
    else:
        manifest.unlink()
    with pytest.raises(BundleError, match=r"altered|cannot be read|is incomplete|holds no trained forest|version 9"):
        load_forest(tmp_path)


def test_another_release_of_scikit_learn_is_refused_and_a_patch_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = ".".join(INFO.scikit_learn.split(".")[:2])
    save_forest(forest(), tmp_path)
    monkeypatch.setattr(forest_bundle, "sklearn_version", lambda: f"{release}.99")
    load_forest(tmp_path)
    monkeypatch.setattr(forest_bundle, "sklearn_version", lambda: "2.0.1")
    with pytest.raises(BundleError, match=rf"trained with scikit-learn {release}.*2\.0\.1 is installed.*train again"):
        load_forest(tmp_path)


def test_a_table_that_does_not_fit_the_trees_is_refused(tmp_path: Path) -> None:
    mixed = Forest(replace(INFO, settings=replace(SETTINGS, kind="extra_trees")), forest().estimator)
    with pytest.raises(BundleError, match="takes 12 features"):
        save_forest(mixed, tmp_path)
    short = Forest(replace(INFO, classes=("a", "b")), forest().estimator)
    with pytest.raises(BundleError, match="classes up to 3"):
        save_forest(short, tmp_path)
