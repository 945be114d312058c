"""Archives of every form give the same frames, are read by slices, and say what is wrong with them."""

import pickle
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from stacks import curves, write_stack, write_text

from hpc_mlsm.archive.archive_settings import ArchiveSettings, VariableSettings
from hpc_mlsm.archive.index_file import load_index, save_index
from hpc_mlsm.archive.opening import frame_hash, is_archive, open_archive, read_frames
from hpc_mlsm.errors import ConfigError, PatternError, StoreError

FRAMES = curves(12)


def all_of(address: str | Path, **settings: object) -> np.ndarray:
    """All frames of an archive, whose abscissa is common."""
    index = open_archive([address], ArchiveSettings(**settings))  # type: ignore[arg-type]
    (own,) = read_frames(index, 0, index.n_frames).curves
    assert own.frames.tolist() == list(range(index.n_frames))
    return own.y


@pytest.mark.parametrize("form", ["folder", "zip", "tar", "tar.gz", "stack"])
def test_every_form_gives_the_same_frames_in_natural_order(tmp_path: Path, form: str) -> None:
    folder = write_text(tmp_path / "folder", FRAMES)
    address = {"folder": folder, "stack": write_stack(tmp_path / "a.h5", FRAMES)}.get(form, tmp_path / f"a.{form}")
    if form == "zip":
        with zipfile.ZipFile(address, "w") as archive:
            for path in sorted(folder.iterdir()):
                archive.write(path, f"inside/{path.name}")
    elif form.startswith("tar"):
        with tarfile.open(address, "w:gz" if form.endswith("gz") else "w") as tar:
            tar.add(folder, "inside")
    np.testing.assert_allclose(all_of(address), FRAMES, atol=1e-6)
    index = open_archive([address])
    assert (index.kind, index.unit, index.n_frames) == ("pdf", "angstrom", 12)
    np.testing.assert_array_equal(
        index.variable("temperature").values, 100.0 * (1 + 2 * (form == "stack")) + np.arange(12)
    )
    assert index.variable("temperature").unit == "K"
    part = read_frames(index, 3, 5).curves[0]
    np.testing.assert_allclose(part.y, FRAMES[3:5], atol=1e-6)
    assert part.frames.tolist() == [3, 4]


def test_an_index_comes_back_from_its_file_and_from_pickle(tmp_path: Path) -> None:
    index = open_archive([write_text(tmp_path / "folder", FRAMES)])
    save_index(index, tmp_path / "index.h5")
    for again in (load_index(tmp_path / "index.h5"), pickle.loads(pickle.dumps(index))):
        assert (again.members, again.kind, again.shape, again.notes) == (index.members, "pdf", (12,), ())
        np.testing.assert_array_equal(again.places, index.places)
        np.testing.assert_array_equal(again.variables[0].values, index.variables[0].values)
    (tmp_path / "index.h5").write_bytes(b"nonsense")
    with pytest.raises(StoreError, match="run predict again"):
        load_index(tmp_path / "index.h5")


@pytest.mark.parametrize("place", ["", "/", "/entry", "/entry/data", "/entry/data/G"])
def test_a_stack_is_found_from_the_file_from_its_groups_and_from_its_dataset(tmp_path: Path, place: str) -> None:
    path = write_stack(tmp_path / "a.h5", FRAMES)
    index = open_archive([f"{path}::{place}" if place else path])
    assert (index.source, index.abscissa) == (f"{path}::/entry/data/G", "/entry/data/r")
    assert {(one.name, one.unit) for one in index.variables} == {("temperature", "K"), ("load", "")}


def test_a_map_keeps_its_shape_and_both_positions(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "map.h5", "w") as file:
        data = file.create_group("data")
        data.attrs.update({"signal": "G", "axes": ["y", "x", "r"]})
        data["G"] = FRAMES.reshape(3, 4, -1)
        data["r"] = np.arange(FRAMES.shape[1]) * 0.1
        data["r"].attrs["units"] = "Å"
        data["y"], data["x"] = [10.0, 20.0, 30.0], [1.0, 2.0, 3.0, 4.0]
        data["y"].attrs["units"] = "mm"
    index = open_archive([tmp_path / "map.h5"])
    assert (index.n_frames, index.shape) == (12, (3, 4))
    np.testing.assert_array_equal(index.variable("y").values, np.repeat([10.0, 20.0, 30.0], 4))
    np.testing.assert_array_equal(index.variable("x").values, np.tile([1.0, 2.0, 3.0, 4.0], 3))
    assert index.variable("y").unit == "mm"
    np.testing.assert_array_equal(read_frames(index, 3, 9).curves[0].y, FRAMES[3:9])


def test_a_path_that_is_not_there_is_answered_with_what_is(tmp_path: Path) -> None:
    path = write_stack(tmp_path / "a.h5", FRAMES)
    with pytest.raises(
        PatternError, match=r"no /entry/other in the file; it holds /entry/data/G \(12 × 151\)"
    ) as caught:
        open_archive([f"{path}::/entry/other"])
    assert caught.value.reason == "no_dataset"


def test_of_two_stacks_none_is_guessed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["one"], file["two"] = FRAMES, FRAMES
    with pytest.raises(PatternError, match=r"2 datasets in / could be the stack.*/one \(12 × 151\), /two") as caught:
        open_archive([tmp_path / "two.h5"])
    assert caught.value.reason == "ambiguous"
    with pytest.raises(PatternError, match=r"predict\.archive\.abscissa"):
        open_archive([f"{tmp_path / 'two.h5'}::/one"])


def test_an_abscissa_and_a_unit_that_the_user_names_settle_it(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "bare.h5", "w") as file:
        file["one"], file["column"] = FRAMES, np.arange(151) * 0.1
    address = f"{tmp_path / 'bare.h5'}::/one"
    with pytest.raises(PatternError, match=r"predict\.archive\.kind = pdf, or powder"):
        open_archive([address], ArchiveSettings(abscissa="/column"))
    index = open_archive([address], ArchiveSettings(abscissa="/column", unit="angstrom"))
    assert (index.kind, index.axis) == ("pdf", "r")
    assert read_frames(index, 0, 1).curves[0].like.unit == "angstrom"


def test_a_truncated_file_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path = write_stack(tmp_path / "a.h5", FRAMES)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(PatternError, match=r"cut short.*copy it again") as caught:
        open_archive([path])
    assert caught.value.reason == "truncated"


WRITER = """
import sys
import h5py, numpy as np
frames = np.load(sys.argv[2])
with h5py.File(sys.argv[1], "w", libver="latest") as file:
    data = file.create_group("data")
    data.attrs.update({"signal": "G", "axes": [".", "r"]})
    data.create_dataset("G", shape=(1000, 151), dtype="f4", chunks=(8, 151), fillvalue=np.nan)
    data["r"] = np.arange(151) * 0.1
    data["r"].attrs["units"] = "angstrom"
    file.swmr_mode = True
    for part in (slice(0, 12), slice(12, 20)):
        data["G"][part] = frames[part]
        data["G"].flush()
        print("written", flush=True)
        sys.stdin.readline()
"""


def test_of_a_stack_that_is_being_written_what_is_there_is_read_and_said(tmp_path: Path) -> None:
    frames = curves(20)
    np.save(tmp_path / "frames.npy", frames)
    command = [sys.executable, "-c", WRITER, str(tmp_path / "live.h5"), str(tmp_path / "frames.npy")]
    writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert writer.stdin is not None
    assert writer.stdout is not None
    try:
        writer.stdout.readline()
        index = open_archive([tmp_path / "live.h5"])
        assert index.n_frames == 12
        assert index.notes == ("988 of 1000 frames are not written yet and were left out",)
        np.testing.assert_array_equal(read_frames(index, 0, 12).curves[0].y, frames[:12])
        first, rest = frame_hash(index)(0, 8), frame_hash(index)(8, 12)
        print(file=writer.stdin, flush=True)
        writer.stdout.readline()
        later = open_archive([tmp_path / "live.h5"])
        assert later.n_frames == 20
        assert frame_hash(later)(0, 8) == first
        assert frame_hash(later)(8, 20) != rest
    finally:
        writer.communicate("\n\n", timeout=30)


def test_bad_frames_of_a_stack_are_set_aside_and_the_rest_is_read(tmp_path: Path) -> None:
    frames = FRAMES.copy()
    frames[2, 7], frames[5], frames[8] = np.nan, 0.0, 3.5
    block = read_frames(open_archive([write_stack(tmp_path / "a.h5", frames)]), 0, 12)
    assert [(one.frame, one.reason) for one in block.rejects] == [(2, "not_finite"), (5, "constant"), (8, "constant")]
    assert block.curves[0].frames.tolist() == [0, 1, 3, 4, 6, 7, 9, 10, 11]


def test_bad_files_are_set_aside_and_the_rest_is_read(tmp_path: Path) -> None:
    folder = write_text(tmp_path / "folder", FRAMES)
    (folder / "s3_102K.gr").write_text("")
    (folder / "s4_103K.gr").write_bytes(bytes(range(32)) * 9)
    (folder / "s6_105K.gr").write_text("#L r(nm) G(nm^{-2})\n" + "\n".join(f"{0.01 * k} {k % 5}" for k in range(50)))
    with pytest.raises(PatternError, match=r"two kinds of abscissa in one archive: r in angstrom.*r in nm") as caught:
        open_archive([folder])
    assert caught.value.reason == "mixed_units"
    (folder / "s6_105K.gr").write_text("1 2\n3 4\n")
    index = open_archive([folder])
    block = read_frames(index, 0, 12)
    assert [one.reason for one in block.rejects] == ["empty", "binary", "too_few_points"]
    assert len(block.curves[0].frames) == 9


def test_frames_on_other_grids_come_apart(tmp_path: Path) -> None:
    folder = write_text(tmp_path / "folder", FRAMES)
    write_text(tmp_path / "other", FRAMES[:2, :100])
    (tmp_path / "other" / "s1_100K.gr").rename(folder / "s20_1K.gr")
    block = read_frames(open_archive([folder]), 0, 13)
    assert [own.y.shape for own in block.curves] == [(12, 151), (1, 100)]


def test_text_without_units_is_not_guessed(tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    folder.mkdir()
    for k in range(3):
        (folder / f"{k}.xy").write_text("\n".join(f"{0.1 * j} {(j * k) % 7}.5" for j in range(50)))
    with pytest.raises(PatternError, match=r"say it: predict\.archive\.kind = pdf, or powder") as caught:
        open_archive([folder])
    assert caught.value.reason == "unknown_kind"
    assert open_archive([folder], ArchiveSettings(kind="powder")).kind == "powder"
    write_text(folder, FRAMES[:2])
    with pytest.raises(PatternError, match="does not say what its own is"):
        open_archive([folder])


def test_variables_come_from_names_paths_and_headers_by_pattern(tmp_path: Path) -> None:
    folder = write_text(tmp_path / "load_5N", FRAMES[:3], header="pressure = 1.5 GPa\n#L r(A) G(A^{-2})")
    asked = (
        VariableSettings("cycle", r"^s(\d+)_"),
        VariableSettings("load", r"load_(\d+)N", "N", "path"),
        VariableSettings("pressure", r"pressure = ([\d.]+)", "GPa", "header"),
    )
    index = open_archive([folder], ArchiveSettings(variables=asked))
    assert [(one.name, one.unit, one.values.tolist()) for one in index.variables] == [
        ("cycle", "", [1.0, 2.0, 3.0]),
        ("load", "N", [5.0, 5.0, 5.0]),
        ("pressure", "GPa", [1.5, 1.5, 1.5]),
    ]
    with pytest.raises(ConfigError, match=r"variable time: the pattern .* is in the name of none of the 3 files"):
        open_archive([folder], ArchiveSettings(variables=(VariableSettings("time", r"(\d+)min"),)))
    with pytest.raises(ConfigError, match="exactly one is needed"):
        VariableSettings("time", "min")


@pytest.mark.parametrize(("name", "content"), [("a.zip", b"PK\x03\x04cut"), ("a.tar", b"no tar"), ("a.h5", b"no hdf")])
def test_a_damaged_container_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PatternError) as caught:
        open_archive([tmp_path / name])
    assert caught.value.reason == "damaged"


def test_a_tar_file_that_is_cut_short_gives_what_is_whole(tmp_path: Path) -> None:
    folder = write_text(tmp_path / "folder", FRAMES)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(folder, "inside")
    index = open_archive([tmp_path / "a.tar"])
    content = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(content[: len(content) // 2])
    block = read_frames(index, 0, 12)
    assert {one.reason for one in block.rejects} <= {"truncated"}
    assert 0 < len(block.rejects) < 12


def test_what_is_an_archive_and_what_a_few_files(tmp_path: Path) -> None:
    folder = write_text(tmp_path / "folder", FRAMES)
    assert not is_archive([folder], "pdf")
    assert is_archive(["a.h5::/x"], "powder")
    assert is_archive([tmp_path / "a.tar.gz"], "pdf")
    with pytest.raises(PatternError, match="an archive by itself"):
        open_archive([folder, "a.h5::/x"])
