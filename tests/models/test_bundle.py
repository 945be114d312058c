"""A bundle comes back as it was saved, or is refused; saving leaves the old one or the new one, never a mixture."""

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from blobs import CLASSES, POINTS, SETTINGS, blobs, streamed

from hpc_mlsm.errors import BundleError, StoreError
from hpc_mlsm.models.boosted import predict_margins, train_boosted
from hpc_mlsm.models.bundle import (
    MANIFEST,
    Bundle,
    BundleInfo,
    bundle_hash,
    bundle_info,
    load_bundle,
    read_manifest,
    save_bundle,
)
from hpc_mlsm.models.classes import ClassEntry, MemberEntry
from hpc_mlsm.models.model_folder import checksum_of
from hpc_mlsm.models.retrieval import Retrieval
from hpc_mlsm.models.trust_fit import fit_trust
from hpc_mlsm.scattering.normalise import standardise
from hpc_mlsm.structures.starter import starter_set

TRAIN, VALIDATION, TEST = blobs(400, 0), blobs(120, 1), blobs(50, 2)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Four classes of one structure each, trained in a moment."""
    rows = [(standardise(table[0]), table[1]) for table in (TRAIN, VALIDATION)]
    folder = tmp_path_factory.mktemp("checkpoints")
    model = train_boosted(streamed(rows[0]), streamed(rows[1]), CLASSES, SETTINGS, folder, "f")
    structures = tuple(starter_set()[:CLASSES])
    entries = tuple(
        ClassEntry(
            f"g-{one.id}",
            (MemberEntry(one.id, one.formula, one.space_group, "P 1", one.cod_id, one.elements, one.name),),
            one.id,
        )
        for one in structures
    )
    info = BundleInfo(
        kind="boosted",
        axis_name="r",
        axis_unit="angstrom",
        axis_values=tuple((0.1 * np.arange(POINTS)).tolist()),
        n_classes=CLASSES,
        temperature=1 / 3,
        fingerprint="f",
        catalogue_fingerprint="c",
        settings={"simulate": {"q_max": [20.0, 25.0]}},
        metrics={"validation_losses": list(model.history), "by_k": {10: 0.5, 9: 0.25}, "none": None},
    )
    image = bytes(model.booster.save_raw("ubj"))
    retrieval = Retrieval.of(TRAIN[0], TRAIN[1], CLASSES)
    margins = partial(predict_margins, model.booster, n_classes=CLASSES)
    _, trust = fit_trust(margins, retrieval, standardise(VALIDATION[0]), VALIDATION[1], ("r", info.grid))
    return Bundle(info, entries, structures, retrieval, image, replace(trust, correlation_weight=0.0))


def same(one: Bundle, two: Bundle) -> bool:
    """Whether two bundles hold the same and say the same of the same patterns, to the last bit."""
    return (
        one.classes == two.classes
        and one.structures == two.structures
        and one.model == two.model
        and np.array_equal(one.probabilities(TEST[0]), two.probabilities(TEST[0]))
        and np.array_equal(one.correlations(TEST[0]), two.correlations(TEST[0]))
    )


def parts(folder: Path) -> list[str]:
    return sorted(path.name.split("-")[0].split(".")[0] for path in folder.iterdir())


WHOLE = ["bundle", "classes", "model", "references", "structures", "trust"]


def test_it_comes_back_as_it_was_saved(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path / "models" / "boosted")
    loaded = load_bundle(tmp_path / "models" / "boosted")
    assert same(loaded, bundle)
    # JSON has text for keys, nothing else changes.
    assert loaded.info == replace(bundle.info, metrics=bundle.info.metrics | {"by_k": {"10": 0.5, "9": 0.25}})
    assert np.array_equal(loaded.info.grid, bundle.info.grid)
    assert parts(tmp_path / "models" / "boosted") == WHOLE


def test_probabilities_are_those_of_the_booster_in_any_scale_of_the_patterns(bundle: Bundle) -> None:
    margins = predict_margins(bundle.booster, standardise(TEST[0]), CLASSES).astype(float)
    expected = np.exp(3 * margins) / np.exp(3 * margins).sum(axis=1, keepdims=True)  # the temperature is 1/3
    assert np.allclose(bundle.probabilities(TEST[0]), expected, atol=1e-5)  # float32 through an exponential
    scaled = (5.0 * TEST[0] + 2.0).astype(float)
    # A pattern in another scale differs by rounding, and may so fall on the other side of a split, but rarely does.
    assert (np.abs(bundle.probabilities(scaled) - expected).max(axis=1) < 1e-4).mean() > 0.95


def test_patterns_are_answered_without_xgboost(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = bundle.probabilities(TEST[0])
    save_bundle(bundle, tmp_path / "boosted")
    monkeypatch.setitem(sys.modules, "xgboost", None)
    assert np.array_equal(load_bundle(tmp_path / "boosted").probabilities(TEST[0]), expected)


def test_correlations_are_those_with_the_nearest_training_pattern(bundle: Bundle) -> None:
    one, label = TRAIN[0][17:18], TRAIN[1][17]
    assert bundle.correlations(one)[0, label] == pytest.approx(1.0, abs=1e-6)


def test_it_can_be_pickled_with_its_booster_in_use(bundle: Bundle, tmp_path: Path) -> None:
    bundle.probabilities(TEST[0])
    _ = bundle.structure(bundle.structures[0].id)
    other = pickle.loads(pickle.dumps(bundle))
    assert "booster" not in other.__dict__
    assert same(other, bundle)


def test_a_structure_is_found_by_its_id(bundle: Bundle) -> None:
    for one in bundle.structures:
        assert bundle.structure(one.id) is one


@pytest.mark.parametrize("shape", [(3, POINTS + 1), (POINTS,), (2, 3, POINTS), (0, 5)])
def test_patterns_of_another_grid_are_refused(bundle: Bundle, shape: tuple[int, ...]) -> None:
    for method in (bundle.probabilities, bundle.correlations):
        with pytest.raises(BundleError, match=rf"do not fit the model, which needs {POINTS} points from 0.0 to 1.1"):
            method(np.zeros(shape))


def test_no_pattern_gives_no_row(bundle: Bundle) -> None:
    assert bundle.probabilities(np.zeros((0, POINTS))).shape == (0, CLASSES)
    assert bundle.correlations(np.zeros((0, POINTS))).shape == (0, CLASSES)


def test_there_is_no_pickle_in_it(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path)
    for path in tmp_path.iterdir():
        assert path.suffix in (".json", ".jsonl", ".h5", ".ubj")
        assert not path.read_bytes().startswith(b"\x80\x04")


def test_the_same_bundle_has_the_same_name_and_another_another(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path / "one")
    save_bundle(bundle, tmp_path / "two")
    save_bundle(replace(bundle, info=replace(bundle.info, temperature=0.5)), tmp_path / "three")
    assert bundle_hash(tmp_path / "one") == bundle_hash(tmp_path / "two") != bundle_hash(tmp_path / "three")


def test_an_empty_folder_and_a_missing_one_hold_no_model(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(BundleError, match=r"holds no trained model .*; run the train stage"):
            load_bundle(folder)
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError, match="holds no trained model"):
        load_bundle(tmp_path / "file")


PARTS = ("model", "classes", "structures", "references", "bundle")
DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "one bit flipped": lambda path: path.write_bytes(
        path.read_bytes()[:150] + bytes([path.read_bytes()[150] ^ 1]) + path.read_bytes()[151:]
    ),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_file_is_found(bundle: Bundle, tmp_path: Path, part: str, damage: Callable[[Path], object]) -> None:
    save_bundle(bundle, tmp_path)
    (path,) = tmp_path.glob(f"{part}*")
    damage(path)
    with pytest.raises(BundleError, match="train"):
        load_bundle(tmp_path)


def test_a_changed_number_in_the_manifest_is_found(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path)
    text = (tmp_path / MANIFEST).read_text()
    (tmp_path / MANIFEST).write_text(text.replace('"temperature": 0.3', '"temperature": 0.4'))
    with pytest.raises(BundleError, match=r"bundle\.json was altered"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["{}", "[]", "null", '{"schema": 3}', '{"schema": "1"}'])
def test_a_bundle_of_another_version_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(BundleError, match=r"is a bundle of version .*, this program needs 2; .*train again"):
        read_manifest(tmp_path)


def test_a_name_that_leads_out_of_the_folder_is_not_followed(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    save_bundle(bundle, folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / manifest["files"]["model"]["name"]).rename(tmp_path / "model.ubj")
    manifest["files"]["model"]["name"] = "../model.ubj"
    manifest["sha256"] = checksum_of({k: v for k, v in manifest.items() if k != "sha256"})
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"model\.ubj is missing"):
        load_bundle(folder)


def altered(bundle: Bundle) -> Bundle:
    """Another bundle, of which every part differs."""
    structures = (*bundle.structures[:-1], replace(bundle.structures[-1], notes=("another",)))
    info = replace(bundle.info, fingerprint="g")
    retrieval = Retrieval.of(TRAIN[0][::2], TRAIN[1][::2], CLASSES)
    model = bytes(bundle.booster[:3].save_raw("ubj"))
    classes = tuple(replace(entry, class_id=f"{entry.class_id}-2") for entry in bundle.classes)
    trust = replace(bundle.trust, known_least=0.5 * bundle.trust.known_least)
    return Bundle(info, classes, structures, retrieval, model, trust)


def test_a_new_bundle_replaces_the_old_one_without_leftovers(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path)
    (tmp_path / "evaluation.json").write_text("of the old one")
    (tmp_path / f".model-0123.ubj.{socket.gethostname()}~999999999~ab.part").write_text("of a killed run")
    (tmp_path / "model-0123456789abcdef.ubj").write_text("of a killed run")
    save_bundle(altered(bundle), tmp_path)
    assert same(load_bundle(tmp_path), altered(bundle))
    assert parts(tmp_path) == sorted([*WHOLE, "evaluation"])


KILLED = """
import os, pickle, signal, socket, sys
from pathlib import Path
from hpc_mlsm.models import bundle as module, model_folder
written = 0
def write_durably(path, content, original=module.write_durably):
    global written
    if written == int(sys.argv[3]):
        partial = path.with_name(f".{path.name}.{socket.gethostname()}~{os.getpid()}~ab.part")
        partial.write_bytes(content[: len(content) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    written += 1
    original(path, content)
module.write_durably = model_folder.write_durably = write_durably
module.save_bundle(pickle.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("written", range(5))
def test_a_kill_while_saving_leaves_the_old_bundle(bundle: Bundle, tmp_path: Path, written: int) -> None:
    save_bundle(bundle, tmp_path / "bundle")
    (tmp_path / "new.pickle").write_bytes(pickle.dumps(altered(bundle)))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    arguments = [str(tmp_path / "new.pickle"), str(tmp_path / "bundle"), str(written)]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert same(load_bundle(tmp_path / "bundle"), bundle)
    save_bundle(altered(bundle), tmp_path / "bundle")
    assert same(load_bundle(tmp_path / "bundle"), altered(bundle))
    assert parts(tmp_path / "bundle") == WHOLE


def test_a_full_disk_leaves_the_old_bundle_and_says_how_much_is_needed(bundle: Bundle, small_disk: Path) -> None:
    small = replace(bundle, model=bundle.model[:1000])
    save_bundle(small, small_disk / "bundle")
    large = replace(altered(bundle), model=np.random.default_rng(0).bytes(2_000_000))
    with pytest.raises(StoreError, match=r"No space left on device\. 2,000,000 bytes are needed, \d+,\d+ bytes"):
        save_bundle(large, small_disk / "bundle")
    assert load_bundle(small_disk / "bundle").model == small.model
    assert parts(small_disk / "bundle") == WHOLE


def test_a_full_disk_leaves_nothing_where_there_was_nothing(bundle: Bundle, small_disk: Path) -> None:
    large = replace(bundle, retrieval=Retrieval.of(*blobs(60_000, 3), CLASSES))
    with pytest.raises(StoreError, match=r"references-.*\.h5 cannot be written: No space left on device"):
        save_bundle(large, small_disk / "bundle")
    assert not list((small_disk / "bundle").iterdir())


def test_a_save_that_fails_leaves_a_bundle_of_another_version_alone(bundle: Bundle, small_disk: Path) -> None:
    (small_disk / MANIFEST).write_text('{"schema": 3}')
    (small_disk / "model-of-the-future.ubj").write_bytes(b"precious")
    with pytest.raises(StoreError, match="No space left on device"):
        save_bundle(replace(bundle, model=bytes(2_000_000)), small_disk)
    assert (small_disk / "model-of-the-future.ubj").read_bytes() == b"precious"


def test_a_folder_that_cannot_be_made_is_named(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError, match=r"file/bundle cannot be made"):
        save_bundle(bundle, tmp_path / "file" / "bundle")


def test_the_manifest_alone_says_what_the_bundle_is(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path)
    info = bundle_info(read_manifest(tmp_path))
    assert (info.n_classes, info.fingerprint, info.axis_values) == (CLASSES, "f", bundle.info.axis_values)
