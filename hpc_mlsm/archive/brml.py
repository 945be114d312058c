"""Bruker BRML: a zip archive of XML, one RawData file a scan, every point a row of comma-separated numbers.

Which column is which is said by the DataViews of the scan; it differs between programs and is never counted.
"""

import io
import re
import zipfile
import zlib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.pattern import Pattern
from hpc_mlsm.archive.scans import Metadata, not_two_theta, scan_name, scan_pattern
from hpc_mlsm.archive.wavelengths import lines_metadata
from hpc_mlsm.errors import PatternError

MAX_MEMBER = 256 * 2**20
"""A scan in XML is a few MiB; a member that unpacks to more is no powder scan, or a trap."""

Element = ElementTree.Element

_RAW_DATA = re.compile(r"(?:.*/)?RawData(\d+)\.xml", re.IGNORECASE)
# Damaged archives end in any of these; encrypted ones in RuntimeError, and texts in an unknown encoding
# in LookupError.
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, LookupError)
_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"


def read_brml(content: bytes, path: Path) -> list[Pattern]:
    """All scans over 2θ of a BRML file.

    Raises
    ------
    PatternError
        "unreadable" where it is no such archive, "wrong_axis", "detector_frames" for scans of an area detector,
        "empty", "too_large", "ragged", or what ``scan_pattern`` raises.
    """
    source = str(path)
    routes = [(root, route) for root in _raw_data(content, source) for route in _measured_routes(root)]
    if not routes:
        raise PatternError("empty", f"{source}: the archive holds no RawData with a measured scan; export it as .xy")
    patterns = []
    for index, (root, route) in enumerate(routes):
        x_column, y_column = _columns(route, source)
        rows = _rows(route, max(x_column, y_column), source)
        name = scan_name(path, index, len(routes))
        patterns.append(scan_pattern(name, source, rows[:, x_column], rows[:, y_column], _lines(root)))
    return patterns


def _raw_data(content: bytes, source: str) -> list[Element]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = sorted((int(found[1]), info) for info in archive.infolist() if (found := _matched(info.filename)))
            for _, info in members:
                if info.file_size > MAX_MEMBER:
                    raise PatternError(
                        "too_large",
                        f"{source}: {info.filename} unpacks to {info.file_size / 2**20:.0f} MiB, a powder scan takes "
                        f"{MAX_MEMBER / 2**20:.0f} MiB at most; export the scan as .xy",
                    )
            return [ElementTree.fromstring(archive.read(info)) for _, info in members]
    except (*_BROKEN, ElementTree.ParseError) as error:
        raise PatternError(
            "unreadable", f"{source}: no whole BRML archive ({error}); copy or export it again"
        ) from error


def _matched(name: str) -> re.Match[str] | None:
    return _RAW_DATA.fullmatch(name)


def _measured_routes(root: Element) -> list[Element]:
    routes = [route for route in root.iter("DataRoute") if route.find("Datum") is not None]
    measured = [route for route in routes if route.get("RouteFlag", "").lower() == "measured"]
    return measured or routes[:1]


def _columns(route: Element, source: str) -> tuple[int, int]:
    """Columns of 2θ and of the counts."""
    two_theta: int | None = None
    counters: list[tuple[bool, int, int]] = []
    for view in route.iter("RawDataView"):
        try:
            start, length = int(view.get("Start", "")), int(view.get("Length", "1"))
        except ValueError as error:
            raise PatternError(
                "damaged", f"{source}: a RawDataView has no columns ({error}); export it as .xy"
            ) from error
        kind = view.get(_TYPE, "")
        if kind.startswith("Varying"):
            fields = list(view.iter("FieldDefinitions"))
            for offset, field in enumerate(fields):
                if "TwoTheta" in (field.get("AxisId", "").strip(), field.get("FieldName", "").strip()):
                    two_theta = start + offset
        elif "Recorded" in kind:
            recording = view.find("Recording")
            name = (recording.get("LogicName") or "") if recording is not None else ""
            counters.append(("counter" not in name.lower(), start, length))
    if two_theta is None:
        axes = [axis.get("AxisName") or axis.get("AxisId") or "" for axis in route.iter("ScanAxisInfo")]
        raise not_two_theta(source, ", ".join(axes))
    if not counters:
        raise PatternError("empty", f"{source}: the scan records no counts; export it as .xy")
    _, start, length = min(counters)
    if length > 1:
        raise PatternError(
            "detector_frames",
            f"{source}: each point holds {length} detector channels; integrate them to a pattern, then export it",
        )
    return two_theta, start


def _rows(route: Element, last: int, source: str) -> NDArray[np.float64]:
    rows = [(datum.text or "").split(",") for datum in route.iter("Datum")]
    short = next((row for row in rows if len(row) <= last), None)
    if short is not None:
        raise PatternError("ragged", f"{source}: a point has {len(short)} numbers, column {last + 1} is needed")
    try:
        return np.array([row[: last + 1] for row in rows], dtype=np.float64)
    except ValueError as error:
        raise PatternError("non_numeric", f"{source}: a point holds what is no number ({error})") from error


def _lines(root: Element) -> Metadata:
    return lines_metadata(*(_value(root, key) for key in ("WaveLengthAlpha1", "WaveLengthAlpha2", "WaveLengthRatio")))


def _value(root: Element, key: str) -> float:
    element = next(root.iter(key), None)
    try:
        return float(element.get("Value") or "") if element is not None else 0.0
    except ValueError:
        return 0.0
