"""Powder files of every format give the numbers that were written, and other programs read the same of them."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from powder_made import COUNTS, LINES, TWO_THETA, brml, gsas, raw1, raw2, raw3, raw4, written, xrdml, xrdml_points

from hpc_mlsm.archive.folders import find_patterns
from hpc_mlsm.archive.powder_files import POWDER_SUFFIXES, read_powder, read_powder_files

FILES: dict[str, bytes | str] = {
    "std.gsa": gsas("STD"),
    "esd.gsa": gsas("ESD"),
    "a.fxye": gsas("FXYE"),
    "a.fxy": gsas("FXY"),
    "card.gda": gsas("ESD").replace("\r\n", ""),
    "a.xrdml": xrdml([xrdml_points()]),
    "new.xrdml": xrdml([xrdml_points(tag="intensities")], version="2.1"),
    "v1.raw": raw1(),
    "v2.raw": raw2(),
    "v3.raw": raw3(),
    "v3long.raw": raw3(record=12),
    "v4.raw": raw4(),
    "v4short.raw": raw4(record=4),
    "a.brml": brml(),
    "gsas.raw": gsas("ESD"),
    "a.xy": "".join(f"{x:.4f} {y}\n" for x, y in zip(TWO_THETA, COUNTS, strict=True)),
    "a.csv": "2theta (deg),intensity\n" + "".join(f"{x:.4f},{y}\n" for x, y in zip(TWO_THETA, COUNTS, strict=True)),
}
LINED = ("a.xrdml", "new.xrdml", "v1.raw", "v2.raw", "v3.raw", "v3long.raw", "v4.raw", "v4short.raw", "a.brml")


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_what_was_written(tmp_path: Path, name: str) -> None:
    (pattern,) = read_powder(written(tmp_path / name, FILES[name]))
    # Versions 1 and 2 keep angles in single precision.
    np.testing.assert_allclose(pattern.x, TWO_THETA, atol=1e-5)
    np.testing.assert_array_equal(pattern.y, COUNTS)
    assert pattern.name == Path(name).stem
    if name != "a.xy":
        assert (pattern.axis, pattern.unit) == ("two_theta", "degree")
    if name in LINED:
        assert pattern.number("wavelength") == pytest.approx(LINES[0], rel=1e-7)
        assert pattern.number("wavelength_2") == pytest.approx(LINES[1], rel=1e-7)
    if name in (*LINED[:2], *LINED[3:]):
        assert pattern.number("wavelength_ratio") == pytest.approx(0.5)
    if name.endswith((".gsa", ".fxye")):
        assert pattern.number("wavelength") == 1.5406
        assert pattern.uncertainty is not None
        np.testing.assert_allclose(pattern.uncertainty, np.sqrt(COUNTS), atol=0.006)


@pytest.mark.parametrize("name", ["v1.raw", "v2.raw", "v3.raw"])
def test_xylib_reads_the_same_of_the_file(tmp_path: Path, name: str) -> None:
    program = shutil.which("xyconv")
    if program is None:
        pytest.skip("xyconv (xylib) is not installed")
    path = written(tmp_path / name, FILES[name])
    subprocess.run([program, str(path), str(tmp_path / "out.xy")], check=True, capture_output=True)
    x, y = np.loadtxt(tmp_path / "out.xy", unpack=True)
    (pattern,) = read_powder(path)
    np.testing.assert_allclose(pattern.x, x, atol=1e-4)
    np.testing.assert_allclose(pattern.y, y)


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("v1.raw", "v2.raw", "a.fxy", "card.gda")])
def test_geddes_reads_the_same_of_the_file(tmp_path: Path, name: str) -> None:
    geddes = pytest.importorskip("geddes")
    path = written(tmp_path / name, FILES[name])
    found = geddes.read(str(path))
    (pattern,) = read_powder(path)
    np.testing.assert_allclose(pattern.x, found.x, atol=1e-9)
    np.testing.assert_allclose(pattern.y, found.y)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.xrdml", xrdml([xrdml_points(), xrdml_points(tag="intensities")])),
        ("v1.raw", raw1(2)),
        ("v1old.raw", raw1(2, repeat_magic=False)),
        ("v2.raw", raw2(2)),
        ("v3.raw", raw3(2, record=12)),
        ("v4.raw", raw4(2)),
        ("a.brml", brml(scans=2)),
        ("a.gsa", gsas("ESD") + gsas("FXYE").split("\r\n", 1)[1]),
    ],
)
def test_several_scans_of_a_file_are_patterns_of_their_own(tmp_path: Path, name: str, content: bytes | str) -> None:
    first, second = read_powder(written(tmp_path / name, content))
    assert (first.name, second.name) == (f"{Path(name).stem}#1", f"{Path(name).stem}#2")
    np.testing.assert_array_equal(first.y, COUNTS)
    np.testing.assert_array_equal(second.y, COUNTS)


def test_scans_of_brml_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    patterns = read_powder(written(tmp_path / "a.brml", brml(scans=11)))
    assert [pattern.name for pattern in patterns] == [f"a#{number}" for number in range(1, 12)]


def test_free_gsas_with_ten_numbers_a_line_is_read_by_blanks(tmp_path: Path) -> None:
    numbers = [f"{value:.0f}" for value in COUNTS]
    rows = "\n".join(" ".join(numbers[i : i + 10]) for i in range(0, 60, 10))
    (pattern,) = read_powder(written(tmp_path / "a.gsas", f"title LA= 1.2\nBANK 1 60 6 CONST 1000 5\n{rows}\n"))
    np.testing.assert_array_equal(pattern.y, COUNTS)
    np.testing.assert_allclose(pattern.x, TWO_THETA)


def test_numbers_that_touch_are_told_apart_by_their_fields(tmp_path: Path) -> None:
    # 10(I2,F6.0): four counters and six digits leave no blank between the numbers.
    cards = "\n".join("".join(f" 4{value + 100000:6.0f}" for value in COUNTS[i : i + 10]) for i in range(0, 60, 10))
    (pattern,) = read_powder(written(tmp_path / "a.gsa", f"title\nBANK 1 60 6 CONS 1000 5 0 0 STD\n{cards}\n"))
    np.testing.assert_array_equal(pattern.y, COUNTS + 100000)
    assert pattern.uncertainty is not None
    np.testing.assert_allclose(pattern.uncertainty, np.sqrt((COUNTS + 100000) / 4))


def test_raw_counts_are_multiplied_by_their_attenuation(tmp_path: Path) -> None:
    factors = np.where(COUNTS > 500, 10.0, 1.0)
    extra = f"<beamAttenuationFactors>{' '.join(map(str, factors))}</beamAttenuationFactors>"
    (pattern,) = read_powder(written(tmp_path / "a.xrdml", xrdml([xrdml_points() + extra])))
    np.testing.assert_array_equal(pattern.y, COUNTS * factors)
    common = "<commonBeamAttenuationFactor>106.5</commonBeamAttenuationFactor>"
    (pattern,) = read_powder(written(tmp_path / "b.xrdml", xrdml([xrdml_points() + common])))
    np.testing.assert_allclose(pattern.y, COUNTS * 106.5)


def test_a_prefixed_namespace_is_read_like_any_other(tmp_path: Path) -> None:
    text = xrdml([xrdml_points()]).replace("</", "</p:").replace("xmlns=", "xmlns:p=")
    text = re.sub(r"<(?=[A-Za-z])", "<p:", text)
    (pattern,) = read_powder(written(tmp_path / "a.xrdml", text))
    np.testing.assert_array_equal(pattern.y, COUNTS)


def test_listed_positions_are_taken_as_they_are(tmp_path: Path) -> None:
    uneven = np.round(10 + 5 * np.linspace(0, 1, 60) ** 1.5, 5)
    listed = f"<listPositions>{' '.join(map(str, uneven))}</listPositions>"
    points = xrdml_points().replace(xrdml_points().split("</positions>")[0].split('deg">')[1], listed)
    (pattern,) = read_powder(written(tmp_path / "a.xrdml", xrdml([points])))
    np.testing.assert_array_equal(pattern.x, uneven)


@pytest.mark.parametrize(("intended", "expected"), [("K-Alpha 1", 1.540593), ("K-Beta", 1.39225)])
def test_a_single_line_has_no_second_one(tmp_path: Path, intended: str, expected: float) -> None:
    (pattern,) = read_powder(written(tmp_path / "a.xrdml", xrdml([xrdml_points()], intended)))
    assert pattern.metadata == {"wavelength": expected}


def test_a_scan_measured_downwards_is_turned_round(tmp_path: Path) -> None:
    points = xrdml_points(TWO_THETA[::-1], COUNTS[::-1])
    (pattern,) = read_powder(written(tmp_path / "a.xrdml", xrdml([points])))
    np.testing.assert_allclose(pattern.x, TWO_THETA)
    np.testing.assert_array_equal(pattern.y, COUNTS)


def test_a_folder_is_searched_for_powder_files(tmp_path: Path) -> None:
    for name in ("b.xrdml", "a10.raw", "a2.BRML", "a.gr", "notes.md"):
        written(tmp_path / name, b"x")
    found = find_patterns([tmp_path], POWDER_SUFFIXES)
    assert [path.name for path in found] == ["a2.BRML", "a10.raw", "b.xrdml"]


def test_a_bad_file_becomes_a_row_and_stops_no_other(tmp_path: Path) -> None:
    paths = [
        written(tmp_path / "a.xrdml", FILES["a.xrdml"]),
        tmp_path / "none.raw",
        written(tmp_path / "b.raw", raw3()),
    ]
    patterns, rejects = read_powder_files(paths)
    assert [pattern.name for pattern in patterns] == ["a", "b"]
    assert [(reject.name, reject.reason) for reject in rejects] == [("none", "missing")]
