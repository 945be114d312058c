"""Siemens and Bruker RAW files, versions 1 to 4: binary, little-endian, one or several ranges.

Layouts as they are publicly described: versions 1 and 2 in the appendix of the DIFFRAC-AT manual, version 3 (RAW1.01)
in that of DIFFRACplus XCH, version 4 (RAW4.00) from files only.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.pattern import Pattern
from hpc_mlsm.archive.scans import Metadata, not_two_theta, scan_name, scan_pattern, truncated
from hpc_mlsm.archive.wavelengths import lines_metadata
from hpc_mlsm.errors import PatternError

MAGIC = (b"RAW ", b"RAW2", b"RAW1.01", b"RAW4.00")

_RANGE_MARKERS = (0, 160)
_SOURCE, _DRIVE = 30, 50
_OTHER_SCANS = ("rocking", "phi", "chi", "psd fix", "x-scan", "y-scan", "z-scan")


@dataclass(frozen=True)
class _Range:
    start: float
    step: float
    intensity: NDArray[np.float64]
    metadata: Metadata


@dataclass(frozen=True)
class _Bytes:
    """A file's content, from which nothing is read beyond its end."""

    content: bytes
    source: str

    def get(self, layout: str, at: int) -> Any:
        """One value of a struct layout at an offset."""
        needed = at + struct.calcsize(layout)
        if at < 0 or needed > len(self.content):
            raise truncated(self.source, needed, len(self.content))
        return struct.unpack_from(f"<{layout}", self.content, at)[0]

    def text(self, at: int, length: int) -> str:
        """A field padded with zeros."""
        return self.content[at : at + length].split(b"\0")[0].decode("latin-1").strip()

    def floats(self, at: int, count: int, stride: int = 4) -> NDArray[np.float64]:
        """The leading 4-byte float of ``count`` records of ``stride`` bytes."""
        needed = at + count * stride
        if count < 0 or needed > len(self.content):
            raise truncated(self.source, needed, len(self.content))
        return np.ndarray((count,), "<f4", self.content, at, (stride,)).astype(np.float64)


def read_bruker_raw(content: bytes, path: Path) -> list[Pattern]:
    """All ranges of a RAW file.

    Raises
    ------
    PatternError
        "truncated", "damaged", "wrong_axis", "empty", or what ``scan_pattern`` raises.
    """
    data = _Bytes(content, str(path))
    readers = dict(zip(MAGIC, (_version_1, _version_2, _version_3, _version_4), strict=True))
    magic = next(magic for magic in MAGIC if content.startswith(magic))
    ranges = list(readers[magic](data))
    if not ranges:
        raise PatternError("empty", f"{path}: the file holds no range; it was saved before anything was measured")
    patterns = []
    for index, found in enumerate(ranges):
        if not (np.isfinite(found.start) and np.isfinite(found.step) and found.step != 0.0):
            raise _damaged(data, f"a range steps by {found.step} from {found.start}")
        two_theta = found.start + found.step * np.arange(len(found.intensity), dtype=np.float64)
        name = scan_name(path, index, len(ranges))
        patterns.append(scan_pattern(name, data.source, two_theta, found.intensity, found.metadata))
    return patterns


def _version_1(data: _Bytes) -> Iterator[_Range]:
    at, more = 4, True
    while more:
        if data.content[at : at + 4] == MAGIC[0]:  # repeated before later ranges by some programs
            at += 4
        points = data.get("I", at)
        more = data.get("I", at + 148) > 0
        metadata = lines_metadata(data.get("f", at + 68), data.get("f", at + 72))
        yield _Range(data.get("f", at + 20), data.get("f", at + 8), data.floats(at + 152, points), metadata)
        at += 152 + 4 * points


def _version_2(data: _Bytes) -> Iterator[_Range]:
    metadata = lines_metadata(data.get("f", 190), data.get("f", 194), data.get("f", 198))
    at = 256
    for _ in range(data.get("H", 4)):
        header, points = data.get("H", at), data.get("H", at + 2)
        if header < 48:
            raise _damaged(data, f"a range header of {header} bytes, at least 48 are needed")
        start, step = data.get("f", at + 16), data.get("f", at + 12)
        yield _Range(start, step, data.floats(at + header, points), dict(metadata))
        at += header + 4 * points


def _version_3(data: _Bytes) -> Iterator[_Range]:
    lines = lines_metadata(data.get("d", 624), data.get("d", 632), data.get("d", 648))
    at = 712
    for _ in range(data.get("I", 12)):
        header, points = data.get("I", at), data.get("I", at + 4)
        if header < 260:
            raise _damaged(data, f"a range header of {header} bytes, 304 are usual")
        # Records are longer where angles or times were stored for each point; zero in files of old programs.
        record = max(4, data.get("I", at + 252))
        first = at + header + data.get("I", at + 256)
        metadata: Metadata = dict(lines) or lines_metadata(data.get("d", at + 240))
        start, step = data.get("d", at + 16), data.get("d", at + 176)
        yield _Range(start, step, data.floats(first, points, record), metadata)
        at = first + record * points


def _version_4(data: _Bytes) -> Iterator[_Range]:
    """A chain of segments (kind, length), in which kind 0 or 160 is not a segment but the beginning of a range."""
    at, lines = 61, Metadata()
    while at + 4 <= len(data.content):
        kind = data.get("I", at)
        if kind in _RANGE_MARKERS:
            points, record, drives = data.get("I", at + 88), data.get("I", at + 136), data.get("I", at + 140)
            if record < 4 or record % 4:
                raise _damaged(data, f"a range with records of {record} bytes")
            start = data.get("d", at + 72)
            _refuse_other_axis(data, data.text(at + 32, 24), dict(_drives(data, at + 160, drives)), start)
            metadata: Metadata = dict(lines) or lines_metadata(data.get("d", at + 112))
            first = at + 160 + drives
            yield _Range(start, data.get("d", at + 80), data.floats(first, points, record), metadata)
            at = first + record * points
            continue
        length = max(8, data.get("I", at + 4))
        if at + length > len(data.content):
            raise truncated(data.source, at + length, len(data.content))
        if kind == _SOURCE:
            lines = lines_metadata(data.get("d", at + 80), data.get("d", at + 88), data.get("d", at + 104))
        at += length


def _drives(data: _Bytes, at: int, size: int) -> Iterator[tuple[str, float]]:
    """Name and position of each drive of a range."""
    end = at + size
    while at < end:
        kind, length = data.get("I", at), max(8, data.get("I", at + 4))
        if at + length > end:
            raise _damaged(data, f"the drives of a range overrun their {size} bytes")
        if kind == _DRIVE and length >= 64:
            yield data.text(at + 12, 24), data.get("d", at + 56)
        at += length


def _refuse_other_axis(data: _Bytes, scan: str, drives: dict[str, float], start: float) -> None:
    """Raise where a range of version 4 is a scan of something else than 2θ."""
    if any(word in scan.lower() for word in _OTHER_SCANS):
        raise not_two_theta(data.source, scan)
    two_theta = drives.get("2Theta")
    if two_theta is not None and abs(two_theta - start) > 0.01:
        raise not_two_theta(data.source, f"{scan or 'a drive'} from {start:g} with 2θ at {two_theta:g}")


def _damaged(data: _Bytes, what: str) -> PatternError:
    return PatternError(
        "damaged", f"{data.source}: {what}: the file is damaged or of an unknown kind; export it as .xy"
    )
