"""Files on disk become patterns, or errors that say which file, which line and why."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpc_mlsm.archive import readers
from hpc_mlsm.archive.pattern import Pattern
from hpc_mlsm.archive.readers import read_pattern, read_patterns
from hpc_mlsm.errors import PatternError

MEASURED = Path(__file__).parents[3] / "shared" / "data" / "experimental"
R = np.round(np.arange(1, 41) * 0.05, 2)
G = np.sin(3 * R)
REASONS = {
    "missing", "unreadable", "too_large", "empty", "binary", "no_numbers", "one_column", "too_few_points",
    "non_numeric", "ragged", "not_finite", "descending", "duplicate_x", "constant",
}  # fmt: skip


def written(path: Path, r: np.ndarray = R, g: np.ndarray = G, header: str = "") -> Path:
    path.write_text(header + "".join(f"{x:.2f} {y:.6f}\n" for x, y in zip(r, g, strict=True)))
    return path


def outcome_of(path: Path) -> Pattern | None:
    """The pattern, sound in every respect; None where it was refused with a known reason and the file's name."""
    patterns, rejects = read_patterns([path])
    for reject in rejects:
        assert reject.reason in REASONS
        assert str(path) in reject.detail
        return None
    (pattern,) = patterns
    assert np.isfinite(pattern.x).all()
    assert np.isfinite(pattern.y).all()
    assert (np.diff(pattern.x) > 0).all()
    assert len(pattern) >= readers.MIN_POINTS
    return pattern


def test_a_pattern_holds_what_numpy_reads_and_what_the_header_says(tmp_path: Path) -> None:
    path = written(tmp_path / "s_150.0K.gr", header="# qmax = 24.5\n# r(nm) G(nm^-2)\n")
    pattern = read_pattern(path)
    r, g = np.loadtxt(path, unpack=True)
    np.testing.assert_array_equal(pattern.x, r)
    np.testing.assert_array_equal(pattern.y, g)
    assert (pattern.name, pattern.axis, pattern.unit, len(pattern)) == ("s_150.0K", "r", "nm", 40)
    assert pattern.source == str(path)
    assert pattern.number("q_max") == 24.5
    assert pattern.number("y_unit") is None
    assert pattern.metadata == {
        "q_max": 24.5, "x_label": "r(nm)", "y_label": "G(nm^-2)", "y_unit": "1/nm^2"
    }  # fmt: skip
    assert pattern.x.dtype == pattern.y.dtype == np.float64


def test_uncertainty_is_kept_where_it_is_one(tmp_path: Path) -> None:
    path = tmp_path / "a.xye"
    path.write_text("".join(f"{x} {y} {0.1 + x}\n" for x, y in zip(R, G, strict=True)))
    uncertainty = read_pattern(path).uncertainty
    assert uncertainty is not None
    np.testing.assert_allclose(uncertainty, 0.1 + R)


@pytest.mark.parametrize("wrong", ["-1", "nan", "0"])
def test_an_impossible_uncertainty_is_left_out(tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "a.xye"
    path.write_text("".join(f"{x} {y} {wrong}\n" for x, y in zip(R, G, strict=True)))
    assert read_pattern(path).uncertainty is None


def test_patterns_travel_between_processes(tmp_path: Path) -> None:
    pattern = pickle.loads(pickle.dumps(read_pattern(written(tmp_path / "a.gr"))))
    np.testing.assert_array_equal(pattern.y, np.round(G, 6))


def swapped(values: np.ndarray, i: int, value: float) -> np.ndarray:
    changed = values.copy()
    changed[i] = value
    return changed


@pytest.mark.parametrize(
    ("r", "g", "reason", "message"),
    [
        (R[::-1], G, "descending", "line 3.*goes back from 2 to 1.95.*reverse their order"),
        (np.tile(R, 2), np.tile(G, 2), "descending", "line 42.*second pattern"),
        (swapped(R, 20, R[19]), G, "duplicate_x", "line 22.*1 occurs twice"),
        (R, swapped(G, 7, np.nan), "not_finite", "line 9: 0.4 nan.*rows like it: 1"),
        (R, swapped(G, 7, -np.inf), "not_finite", "line 9: 0.4 -inf"),
        (swapped(R, 39, np.inf), G, "not_finite", "line 41"),
        (R[:9], G[:9], "too_few_points", "9 points, at least 10"),
        (R, np.full(40, 0.25), "constant", "0.25 in all 40 rows"),
    ],
)
def test_data_that_nothing_can_mend_are_refused(
    tmp_path: Path, r: np.ndarray, g: np.ndarray, reason: str, message: str
) -> None:
    path = written(tmp_path / "bad.gr", r, g, header="r G\n")
    with pytest.raises(PatternError, match=message) as caught:
        read_pattern(path)
    assert caught.value.reason == reason
    assert str(path) in caught.value.detail


def test_overflowing_numbers_are_not_finite(tmp_path: Path) -> None:
    path = tmp_path / "a.dat"
    path.write_text("".join(f"{x} 9e999\n" for x in R))
    with pytest.raises(PatternError, match="not finite"):
        read_pattern(path)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(PatternError, match=r"none\.gr: there is no such file") as caught:
        read_pattern(tmp_path / "none.gr")
    assert caught.value.reason == "missing"


def test_a_folder_is_unreadable_as_a_file(tmp_path: Path) -> None:
    with pytest.raises(PatternError, match="cannot be read") as caught:
        read_pattern(tmp_path)
    assert caught.value.reason == "unreadable"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_unreadable(tmp_path: Path) -> None:
    path = written(tmp_path / "a.gr")
    path.chmod(0)
    with pytest.raises(PatternError, match="Permission denied"):
        read_pattern(path)


def test_a_path_with_a_null_byte_is_unreadable() -> None:
    with pytest.raises(PatternError, match="cannot be read"):
        read_pattern("a\x00b.gr")


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.gr")
    monkeypatch.setattr(readers, "MAX_BYTES", path.stat().st_size - 1)
    with pytest.raises(PatternError) as caught:
        read_pattern(path)
    assert caught.value.reason == "too_large"


def test_many_files_are_read_and_bad_ones_become_rows(tmp_path: Path) -> None:
    paths = [written(tmp_path / "a.gr"), tmp_path / "none.gr", written(tmp_path / "c.gr", R[::-1])]
    patterns, rejects = read_patterns(paths)
    assert [pattern.name for pattern in patterns] == ["a"]
    assert [(row.name, row.reason) for row in rejects] == [("none", "missing"), ("c", "descending")]
    assert all(row.source in row.detail for row in rejects)


def test_a_file_cut_anywhere_is_read_in_part_or_refused_but_never_misread(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.dat", header="# qmax = 25\n").read_bytes()
    for size in range(len(whole)):
        path = tmp_path / "cut.dat"
        path.write_bytes(whole[:size])
        pattern = outcome_of(path)
        if pattern is None:
            continue
        # All rows but the last, which may have lost digits of its signal, must be those that were written.
        np.testing.assert_array_equal(pattern.x[:-1], R[: len(pattern) - 1])
        np.testing.assert_array_equal(pattern.y[:-1], np.round(G, 6)[: len(pattern) - 1])


QUICK = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
DATA_LIKE = st.lists(
    st.sampled_from(
        ["0.1 2.5", "1,2", "1;2", "1,5;2,5", "nan 1", "1e999 2", "-", "#", "r G(r)", "qmax=1e", "##### start data",
         "9" * 400, "1 2 3", "", ";", "é", "\x0c", "'", '"1","2"', "2.D0 1", "composition = ", "rmax=9.9.9"]
    ) | st.builds("{} {}".format, st.integers(0, 99), st.floats()),
    max_size=40,
)  # fmt: skip


@QUICK
@given(raw=st.binary(max_size=2000))
def test_random_bytes_give_a_pattern_or_a_clear_error(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "f.gr").write_bytes(raw)
    outcome_of(tmp_path / "f.gr")


@QUICK
@given(lines=DATA_LIKE, end=st.sampled_from(["\n", "\r\n", "\r"]), suffix=st.sampled_from([".gr", ".csv", ".xye"]))
def test_random_lines_give_a_pattern_or_a_clear_error(tmp_path: Path, lines: list[str], end: str, suffix: str) -> None:
    path = tmp_path / f"f{suffix}"
    path.write_text(end.join(lines), newline="")
    outcome_of(path)


@QUICK
@given(
    steps=st.lists(st.floats(0.001, 10), min_size=10, max_size=30),
    values=st.lists(st.floats(-1e30, 1e30), min_size=30, max_size=30, unique=True),
    separator=st.sampled_from([" ", "\t", ",", ";"]),
)
def test_what_was_written_is_read_to_the_last_digit(
    tmp_path: Path, steps: list[float], values: list[float], separator: str
) -> None:
    r = np.cumsum(steps)
    path = tmp_path / "f.txt"
    rows = zip(r.tolist(), values[: len(r)], strict=True)
    path.write_text(f"r{separator}G\n" + "".join(f"{x!r}{separator}{y!r}\n" for x, y in rows))
    pattern = read_pattern(path)
    np.testing.assert_array_equal(pattern.x, r)
    np.testing.assert_array_equal(pattern.y, values[: len(r)])


@pytest.mark.reference
@pytest.mark.skipif(not MEASURED.is_dir(), reason="measured patterns of ../shared/data are not here")
def test_measured_patterns_are_read_as_numpy_reads_them() -> None:
    files = sorted(MEASURED.rglob("*.gr")) + sorted(MEASURED.rglob("*.xy"))
    assert len(files) == 21
    for file in files:
        pattern = read_pattern(file)
        lines = file.read_text().splitlines()
        start = next((i + 3 for i, line in enumerate(lines) if line.startswith("#### start data")), 0)
        np.testing.assert_array_equal(np.column_stack([pattern.x, pattern.y]), np.loadtxt(lines[start:]))
        if file.suffix == ".gr":
            assert (pattern.axis, pattern.unit) == ("r", "angstrom")
            assert pattern.number("q_max") == 25.0
            assert pattern.metadata["program"] == "xPDFsuite"
            assert str(pattern.metadata["composition"]) in file.name
        else:
            assert (pattern.axis, pattern.unit, pattern.metadata) == (None, None, {})
