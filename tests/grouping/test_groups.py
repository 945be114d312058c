"""Groups: members, representative, smallest correlation, and what is kept on disk."""

import hashlib
import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from all_pairs import correlate_all
from numpy.typing import NDArray

from hpc_mlsm.errors import StoreError
from hpc_mlsm.grouping.edges import Edges
from hpc_mlsm.grouping.groups import Group, SavedGroups, build_groups, group_id, load_groups, save_groups
from hpc_mlsm.grouping.linkage import labels_for, single_linkage
from hpc_mlsm.grouping.settings import GroupSettings

MIB = 2**20


def reader(patterns: NDArray[np.float32]):
    return lambda start, stop: patterns[start:stop]


def clusters(seed: int, n: int = 90, points: int = 60) -> tuple[list[str], NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 12, n)
    patterns = rng.normal(size=(12, points))[labels] + 0.5 * rng.normal(size=(n, points))
    return [f"cod-{k}" for k in rng.permutation(n)], patterns.astype(np.float32), labels


@pytest.mark.parametrize("seed", range(10))
def test_members_representative_and_smallest_correlation_are_those_of_brute_force(seed: int):
    ids, patterns, labels = clusters(seed)
    correlation = np.corrcoef(patterns.astype(np.float64))
    groups = build_groups(ids, labels, reader(patterns))
    assert len(groups) == len(np.unique(labels))
    assert [group.label for group in groups] == list(range(len(groups)))
    assert [group.members[0] for group in groups] == sorted(group.members[0] for group in groups)
    row = {name: k for k, name in enumerate(ids)}
    for group in groups:
        members = [row[name] for name in group.members]
        assert list(group.members) == sorted(ids[k] for k in np.flatnonzero(labels == labels[members[0]]))
        inside = correlation[np.ix_(members, members)]
        others = inside[~np.eye(len(members), dtype=bool)].reshape(len(members), -1)
        mean = others.mean(axis=1)
        assert group.representative == group.members[np.flatnonzero(mean > mean.max() - 1e-12)[0]]
        assert group.min_correlation == pytest.approx(others.min(), abs=1e-12)
        assert len(group) == len(members)


def test_groups_larger_than_the_memory_are_read_in_blocks(monkeypatch: pytest.MonkeyPatch):
    ids, patterns, labels = clusters(3, n=200)
    whole = build_groups(ids, labels, reader(patterns))
    reads: list[int] = []

    def rows(start: int, stop: int) -> NDArray[np.float32]:
        reads.append(stop - start)
        return patterns[start:stop]

    monkeypatch.setattr("hpc_mlsm.grouping.within.TILE", 3)
    monkeypatch.setattr("hpc_mlsm.grouping.within.READ_ELEMENTS", 60 * 20)
    monkeypatch.setattr("hpc_mlsm.grouping.within.rows_per_block", lambda memory, points: 10)
    pieces = build_groups(ids, labels, rows)
    assert max(reads) <= 20
    for one, other in zip(whole, pieces, strict=True):
        assert replace(one, min_correlation=0.0) == replace(other, min_correlation=0.0)
        assert one.min_correlation == pytest.approx(other.min_correlation, abs=1e-13)


def test_single_linkage_reports_how_unlike_the_ends_of_a_chain_are():
    x = np.linspace(0, 20 * np.pi, 2000, endpoint=False)
    patterns = np.array([np.sin(x + np.radians(10 * k)) for k in range(10)], dtype=np.float32)
    labels = single_linkage(10, correlate_all(reader(patterns), 10, 2000, 0.95))
    (group,) = build_groups([f"s{k}" for k in range(10)], labels, reader(patterns))
    assert group.min_correlation == pytest.approx(np.cos(np.radians(90)), abs=1e-6)  # float32 patterns
    assert group.representative == "s4"  # the middle; s5 is as good, by symmetry


def test_a_group_of_one_represents_itself_and_reads_nothing():
    def rows(start: int, stop: int) -> NDArray[np.float32]:
        raise AssertionError("read")

    groups = build_groups(["b", "a"], np.array([0, 1]), rows)
    assert groups == (Group(group_id("a"), 0, ("a",), "a", 1.0), Group(group_id("b"), 1, ("b",), "b", 1.0))
    assert build_groups([], np.empty(0, np.int64), rows) == ()


def test_the_smallest_id_represents_equals():
    row = np.random.default_rng(0).normal(size=50).astype(np.float32)
    (group,) = build_groups(["c", "b", "d"], np.zeros(3, int), reader(np.array([row] * 3)))
    assert group.representative == "b"
    assert group.min_correlation == pytest.approx(1.0, abs=1e-12)
    assert group.min_correlation <= 1.0


def test_groups_do_not_depend_on_the_order_of_the_rows():
    ids, patterns, _ = clusters(5)
    shuffled = np.random.default_rng(9).permutation(len(ids))
    made = []
    for order in (np.arange(len(ids)), shuffled):
        names, rows = [ids[k] for k in order], reader(patterns[order])
        labels = labels_for(names, correlate_all(rows, *patterns.shape, 0.7), "complete")
        made.append(build_groups(names, labels, rows))
    for one, other in zip(*made, strict=True):
        assert replace(one, min_correlation=0.0) == replace(other, min_correlation=0.0)
        assert one.min_correlation == pytest.approx(other.min_correlation, abs=1e-13)


def test_ids_of_groups_stay_when_other_structures_are_added():
    ids, patterns, labels = clusters(6)
    before = {group.members: group.id for group in build_groups(ids, labels, reader(patterns))}
    added = np.concatenate([patterns, patterns[:2]])
    more = build_groups([*ids, "aaa-1", "zzz-2"], np.append(labels, [99, labels[1]]), reader(added))
    unchanged = [group for group in more if group.members in before]
    assert len(unchanged) == len(before) - 1
    assert all(group.id == before[group.members] for group in unchanged)
    grown = next(group for group in more if "zzz-2" in group.members)
    assert grown.id == before[grown.members[:-1]]
    assert len({group.id for group in more}) == len(more)


def test_groups_that_are_known_are_not_measured_again():
    ids, patterns, labels = clusters(6)
    before = build_groups(ids, labels, reader(patterns))
    asked: list[int] = []

    def counted(start: int, stop: int):
        asked.append(stop - start)
        return reader(patterns)(start, stop)

    assert build_groups(ids, labels, counted, before=before, known=set(ids)) == before
    assert not asked
    some = set(ids) - {before[0].members[0]}
    assert build_groups(ids, labels, counted, before=before, known=some) == before
    assert asked


def test_repeated_ids_and_missing_labels_are_refused():
    rows = reader(np.zeros((3, 4), np.float32))
    with pytest.raises(StoreError, match=r"'a' stands for more than one pattern \(1 ids repeat\)"):
        build_groups(["a", "b", "a"], np.array([0, 1, 2]), rows)
    with pytest.raises(StoreError, match="3 structures and 2 labels"):
        build_groups(["a", "b", "c"], np.array([0, 1]), rows)


SETTINGS = GroupSettings(threshold=0.7, linkage="leader", memory_mb=200)


def saved_in(folder: Path, seed: int = 7) -> tuple[tuple[Group, ...], Edges]:
    ids, patterns, labels = clusters(seed)
    groups = build_groups(ids, labels, reader(patterns))
    edges = correlate_all(reader(patterns), *patterns.shape, 0.7)
    save_groups(folder, SavedGroups(groups, edges, SETTINGS, f"print-{seed}"))
    return groups, edges


def assert_loads(folder: Path, groups: tuple[Group, ...], edges: Edges, fingerprint: str) -> SavedGroups:
    loaded = load_groups(folder)
    assert (loaded.groups, loaded.settings, loaded.fingerprint) == (groups, SETTINGS, fingerprint)
    for name in ("i", "j", "correlation"):
        column = getattr(loaded.edges, name)
        np.testing.assert_array_equal(column, getattr(edges, name))
        assert column.dtype == getattr(edges, name).dtype
    return loaded


def test_what_is_saved_is_loaded(tmp_path: Path):
    groups, edges = saved_in(tmp_path / "deep" / "groups")
    loaded = assert_loads(tmp_path / "deep" / "groups", groups, edges, "print-7")
    assert pickle.loads(pickle.dumps(loaded.groups)) == groups


def test_no_groups_and_no_edges_can_be_saved(tmp_path: Path):
    none = np.empty(0, np.int32)
    save_groups(tmp_path, SavedGroups((), Edges(none, none, none.astype(np.float32)), SETTINGS, ""))
    loaded = load_groups(tmp_path)
    assert loaded.groups == ()
    assert len(loaded.edges) == 0


def test_saving_again_replaces_and_leaves_nothing_behind(tmp_path: Path):
    saved_in(tmp_path, 7)
    (tmp_path / ".edges-0123.h5.tmp").write_text("left by a run that was killed")
    groups, edges = saved_in(tmp_path, 8)
    assert_loads(tmp_path, groups, edges, "print-8")
    assert len(list(tmp_path.iterdir())) == 2
    saved_in(tmp_path, 8)
    assert_loads(tmp_path, groups, edges, "print-8")


def test_a_save_that_dies_before_the_end_leaves_the_old_groups_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    groups, edges = saved_in(tmp_path, 7)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hpc_mlsm.grouping.groups.write_durably", killed)
    with pytest.raises(KeyboardInterrupt):
        saved_in(tmp_path, 8)
    assert_loads(tmp_path, groups, edges, "print-7")


@pytest.mark.parametrize("name", ["groups.json", "edges"])
@pytest.mark.parametrize("how", ["missing", "empty", "truncated", "flipped"])
def test_damaged_files_are_refused(tmp_path: Path, name: str, how: str):
    saved_in(tmp_path)
    path = next(tmp_path.glob(f"{name}*"))
    content = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    with pytest.raises(StoreError, match=f"{name}.*run the group stage again"):
        load_groups(tmp_path)


def test_every_flipped_bit_of_a_small_file_is_noticed(tmp_path: Path):
    none = np.empty(0, np.int32)
    group = Group(group_id("a"), 0, ("a",), "a", 1.0)
    save_groups(tmp_path, SavedGroups((group,), Edges(none, none, none.astype(np.float32)), SETTINGS, "print"))
    path = tmp_path / "groups.json"
    content = path.read_bytes()
    good = load_groups(tmp_path)
    for place in range(len(content)):
        broken = bytearray(content)
        broken[place] ^= 4
        path.write_bytes(broken)
        try:
            loaded = load_groups(tmp_path)
        except StoreError:
            continue
        assert chr(content[place]) in " \n"  # only white space may change unnoticed
        assert (loaded.groups, loaded.fingerprint) == (good.groups, good.fingerprint)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"format": "hpc_mlsm groups", "version": 99, "content": {}}, "version 99, and version 3 is needed"),
        ({"format": "hpc_mlsm groups", "content": {}}, "version None"),
        ({"format": "something"}, "not a file of groups"),
        ([1, 2], "not a file of groups"),
        ({"format": "hpc_mlsm groups", "version": 3}, "has been altered"),
    ],
)
def test_files_of_another_kind_or_version_are_refused(tmp_path: Path, content: object, message: str):
    (tmp_path / "groups.json").write_text(json.dumps(content))
    with pytest.raises(StoreError, match=message):
        load_groups(tmp_path)


def test_groups_that_do_not_name_the_least_alike_are_read(tmp_path: Path):
    groups, edges = saved_in(tmp_path)
    path = tmp_path / "groups.json"
    content = json.loads(path.read_text())["content"]
    for group in content["groups"]:
        del group["least_alike"]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    checksum = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps({"format": "hpc_mlsm groups", "version": 2, "checksum": checksum, "content": content}))
    loaded = assert_loads(tmp_path, groups, edges, "print-7")
    assert any(group.least_alike for group in groups)
    assert not any(group.least_alike for group in loaded.groups)


def test_binary_junk_and_an_unreadable_path_are_refused(tmp_path: Path):
    (tmp_path / "groups.json").write_bytes(bytes(range(256)))
    with pytest.raises(StoreError, match="cannot be read"):
        load_groups(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be made"):
        saved_in(tmp_path / "file" / "groups")
    with pytest.raises(StoreError, match="cannot be read"):
        load_groups(tmp_path / "file")


def test_a_place_that_cannot_be_written_is_reported_and_nothing_is_left_behind(tmp_path: Path):
    (tmp_path / "groups.json").mkdir()
    with pytest.raises(StoreError, match=r"groups\.json cannot be written"):
        saved_in(tmp_path)
    assert not list(tmp_path.glob(".*"))


def test_an_edge_file_of_other_content_under_the_right_checksum_is_refused(tmp_path: Path):
    saved_in(tmp_path)
    path = next(tmp_path.glob("edges*"))
    path.write_bytes(b"not HDF5")
    saved = json.loads((tmp_path / "groups.json").read_text())
    saved["content"]["edges"]["sha256"] = hashlib.sha256(b"not HDF5").hexdigest()
    canonical = json.dumps(saved["content"], sort_keys=True, separators=(",", ":"))
    saved["checksum"] = hashlib.sha256(canonical.encode()).hexdigest()
    (tmp_path / "groups.json").write_text(json.dumps(saved))
    with pytest.raises(StoreError, match="cannot be read"):
        load_groups(tmp_path)


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from hpc_mlsm.errors import StoreError
from hpc_mlsm.grouping.edges import Edges
from hpc_mlsm.grouping.groups import Group, SavedGroups, save_groups
from hpc_mlsm.grouping.settings import GroupSettings

folder, limit = Path(sys.argv[1]), int(sys.argv[2])
n = 20_000
rng = np.random.default_rng(0)
i = rng.integers(0, 2**30, n).astype(np.int32)
groups = [Group(f"g-{k}", k, (f"structure-{k}",) * 3, "x", 1.0) for k in range(n)]
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    save_groups(folder, SavedGroups(groups, Edges(i, i, rng.random(n, np.float32)), GroupSettings(), "print"))
except StoreError as error:
    print(error)
"""


@pytest.mark.parametrize(("limit", "name"), [(20_000, "edges-"), (1_000_000, "groups.json")])
def test_a_disk_that_takes_no_more_is_reported_and_the_old_groups_stay(tmp_path: Path, limit: int, name: str):
    groups, edges = saved_in(tmp_path)
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert name in done.stdout
    assert "are free there" in done.stdout
    assert_loads(tmp_path, groups, edges, "print-7")
    assert not list(tmp_path.glob(".*"))
