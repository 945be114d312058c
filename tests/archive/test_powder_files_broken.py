"""Powder files that are cut, of another kind or nonsense are refused with their name and a reason."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from powder_made import COUNTS, TWO_THETA, brml, gsas, raw1, raw2, raw3, raw4, written, xrdml, xrdml_points

from hpc_mlsm.archive import brml as brml_module
from hpc_mlsm.archive.powder_files import read_powder, read_powder_files
from hpc_mlsm.errors import PatternError

WHOLE: dict[str, bytes] = {
    "a.xrdml": xrdml([xrdml_points()]).encode(),
    "a.fxye": gsas("FXYE").encode(),
    "a.gsa": gsas("ESD").encode(),
    "v1.raw": raw1(),
    "v2.raw": raw2(2),
    "v3.raw": raw3(2),
    "v4.raw": raw4(2),
    "a.brml": brml(),
}


def refused(path: Path) -> PatternError:
    with pytest.raises(PatternError) as caught:
        read_powder(path)
    assert str(path) in caught.value.detail
    return caught.value


def zipped(name: str, text: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return stream.getvalue()


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_cut_anywhere_is_refused_or_gives_whole_scans_only(tmp_path: Path, name: str) -> None:
    content = WHOLE[name]
    for cut in np.unique(np.linspace(0, len(content) - 3, 60).astype(int)):
        path = written(tmp_path / name, content[:cut])
        patterns, rejects = read_powder_files([path])
        assert all(str(path) in reject.detail for reject in rejects)
        # A chain of ranges may end after a whole one: version 4 announces no number of ranges.
        for pattern in patterns:
            np.testing.assert_array_equal(pattern.y, COUNTS)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(WHOLE)), position=st.floats(0, 1), byte=st.integers(0, 255))
def test_a_wrong_byte_never_ends_in_another_error(tmp_path: Path, name: str, position: float, byte: int) -> None:
    content = bytearray(WHOLE[name])
    content[int(position * (len(content) - 1))] = byte
    try:
        patterns = read_powder(written(tmp_path / name, bytes(content)))
    except PatternError:
        return
    assert all(np.isfinite(pattern.y).all() and (np.diff(pattern.x) > 0).all() for pattern in patterns)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.xrdml", b"", "empty"),
        ("cut.raw", raw3()[:900], "truncated"),
        ("cut4.raw", raw4()[:-5], "truncated"),
        ("none.raw", raw3()[:12] + bytes(700), "empty"),
        ("still.raw", raw3().replace(np.float64(0.05).tobytes(), bytes(8)), "damaged"),
        ("phi.raw", raw4(scan="Phi scan"), "wrong_axis"),
        ("rocking.raw", raw4(drive=44.0), "wrong_axis"),
        ("omega.xrdml", xrdml([xrdml_points(axis="Omega")]), "wrong_axis"),
        ("omega.brml", brml(axis="Omega"), "wrong_axis"),
        ("frames.brml", brml(width=192), "detector_frames"),
        ("word.brml", zipped("word/document.xml", "<w/>"), "empty"),
        ("half.brml", brml()[:400], "unreadable"),
        ("seek.brml", brml()[:-6] + b"\xff\xff" + brml()[-4:], "unreadable"),
        ("encoding.xrdml", xrdml([xrdml_points()]).replace("UTF-8", "UTF-9"), "unreadable"),
        ("noscan.xrdml", xrdml([]), "empty"),
        ("notxml.xrdml", xrdml([xrdml_points()])[:-30], "unreadable"),
        ("text.xrdml", xrdml([xrdml_points().replace("100", "many")]), "non_numeric"),
        ("nan.xrdml", xrdml([xrdml_points().replace("100 ", "nan ", 1)]), "not_finite"),
        ("other.xml", "<?xml version='1.0'?><a/>", "unsupported"),
        ("tof.gsa", gsas("FXYE").replace("CONS", "SLOG"), "unsupported"),
        ("alt.gsa", gsas("ESD").replace(" ESD", " ALT"), "unsupported"),
        ("short.gsa", "\r\n".join(gsas("FXYE").splitlines()[:30]), "ragged"),
        ("word.gsa", gsas("FXYE").replace("1000.000000", "      ten  "), "non_numeric"),
        ("flat.raw", raw1().replace(COUNTS.astype("<f4").tobytes(), np.ones(60, "<f4").tobytes()), "constant"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(
    tmp_path: Path, name: str, content: bytes | str, reason: str
) -> None:
    assert refused(written(tmp_path / name, content)).reason == reason


def test_an_angle_that_stands_still_or_goes_back_is_named(tmp_path: Path) -> None:
    for value, reason in ((TWO_THETA[6], "duplicate_x"), (TWO_THETA[3], "descending")):
        uneven = TWO_THETA.copy()
        uneven[7] = value
        error = refused(written(tmp_path / "a.fxye", gsas("FXYE", uneven).replace("CONS 1000.00", "CONS 1000")))
        assert error.reason == reason
        assert "point 8" in error.detail


def test_an_archive_that_unpacks_to_too_much_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brml_module, "MAX_MEMBER", 1000)
    assert refused(written(tmp_path / "a.brml", brml())).reason == "too_large"


def test_entities_that_grow_without_bound_are_refused(tmp_path: Path) -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "x" * 10}">' for n in range(10))
    text = f"<?xml version='1.0'?><!DOCTYPE xrdMeasurements [{entities}]><xrdMeasurements>&e9;</xrdMeasurements>"
    assert refused(written(tmp_path / "a.xrdml", text)).reason in ("unreadable", "unsupported")
