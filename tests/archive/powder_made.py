"""Powder files of every format, written from known numbers: no real ones of these formats are at hand."""

import io
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

TWO_THETA = np.round(10.0 + 0.05 * np.arange(60), 6)
COUNTS = np.round(100.0 + 900.0 * np.exp(-(((TWO_THETA - 11.5) / 0.2) ** 2)))
LINES = (1.540593, 1.544427, 0.5)


def gsas(kind: str, x: np.ndarray = TWO_THETA, y: np.ndarray = COUNTS) -> str:
    """A GSAS file of one bank with records STD, ESD, FXY or FXYE, in cards of 80 characters."""
    step = 100 * (x[1] - x[0])
    head = f"BANK 1 {len(x)} %d CONS {100 * x[0]:.2f} {step:.3f} 0 0 {kind}"
    if kind == "STD":
        fields = [f"  {value:6.0f}" for value in y]
        cards = ["".join(fields[i : i + 10]) for i in range(0, len(fields), 10)]
    elif kind == "ESD":
        fields = [f"{value:8.1f}{np.sqrt(value):8.2f}" for value in y]
        cards = ["".join(fields[i : i + 5]) for i in range(0, len(fields), 5)]
    else:
        ends = [f"{np.sqrt(value):12.4f}" if kind == "FXYE" else "" for value in y]
        cards = [f"{100 * a:14.6f}{b:14.4f}{end}" for a, b, end in zip(x, y, ends, strict=True)]
    lines = ["made for a test, wavelength = 1.5406", head % len(cards), *cards]
    return "".join(f"{line:<80}\r\n" for line in lines)


def xrdml(scans: Sequence[str], intended: str = "K-Alpha", version: str = "1.5") -> str:
    """An XRDML file around the given ``dataPoints`` contents."""
    inner = "".join(f'<scan status="Completed" scanAxis="Gonio"><dataPoints>{s}</dataPoints></scan>' for s in scans)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<xrdMeasurements xmlns="http://www.xrdml.com/XRDMeasurement/{version}" status="Completed">
<xrdMeasurement measurementType="Scan" status="Completed"><usedWavelength intended="{intended}">
<kAlpha1 unit="Angstrom">{LINES[0]}</kAlpha1><kAlpha2 unit="Angstrom">{LINES[1]}</kAlpha2>
<kBeta unit="Angstrom">1.3922500</kBeta><ratioKAlpha2KAlpha1>{LINES[2]}</ratioKAlpha2KAlpha1></usedWavelength>
{inner}</xrdMeasurement></xrdMeasurements>"""


def xrdml_points(x: np.ndarray = TWO_THETA, y: np.ndarray = COUNTS, axis: str = "2Theta", tag: str = "counts") -> str:
    """Start and end of an axis, and the counts."""
    ends = f"<startPosition>{x[0]}</startPosition><endPosition>{x[-1]}</endPosition>"
    values = " ".join(f"{value:.0f}" for value in y)
    return f'<positions axis="{axis}" unit="deg">{ends}</positions><{tag} unit="counts">{values}</{tag}>'


def raw1(ranges: int = 1, repeat_magic: bool = True) -> bytes:
    """Bruker RAW version 1."""
    parts = []
    for number in range(ranges):
        magic = b"RAW " if number == 0 or repeat_magic else b""
        head = struct.pack("<IffIIffff", len(COUNTS), 1.0, 0.05, 0, 0, TWO_THETA[0], -1e6, -1e6, -1e6)
        head += b"sample".ljust(32) + struct.pack("<ff", *LINES[:2]) + bytes(72)
        parts.append(magic + head + struct.pack("<I", ranges - number - 1) + COUNTS.astype("<f4").tobytes())
    return b"".join(parts)


def raw2(ranges: int = 1) -> bytes:
    """Bruker RAW version 2."""
    head = b"RAW2" + struct.pack("<H", ranges) + bytes(162) + b"01-Jan-2000".ljust(20) + b"Cu"
    head += struct.pack("<fff", *LINES) + bytes(8) + struct.pack("<f", 60.0) + bytes(42)
    block = struct.pack("<HH", 52, len(COUNTS)) + bytes(4) + struct.pack("<fff", 1.0, 0.05, TWO_THETA[0])
    block += bytes(26) + struct.pack("<H", 298) + bytes(4) + COUNTS.astype("<f4").tobytes()
    return head + ranges * block


def raw3(ranges: int = 1, record: int = 4, supplement: int = 40) -> bytes:
    """Bruker RAW version 3 (RAW1.01), with supplementary headers."""
    head = bytearray(712)
    head[:8] = b"RAW1.01\0"
    struct.pack_into("<II", head, 8, 1, ranges)
    head[608:610] = b"Cu"
    struct.pack_into("<ddddd", head, 616, 1.5418, LINES[0], LINES[1], 1.39225, LINES[2])
    block = bytearray(304)
    struct.pack_into("<IIdd", block, 0, 304, len(COUNTS), TWO_THETA[0] / 2, TWO_THETA[0])
    struct.pack_into("<d", block, 176, 0.05)
    struct.pack_into("<d", block, 240, LINES[0])
    struct.pack_into("<III", block, 248, 0 if record == 4 else 2, record, supplement)
    return bytes(head) + ranges * (bytes(block) + bytes(supplement) + _records(record))


def raw4(ranges: int = 1, record: int = 8, scan: str = "Locked Coupled", drive: float = TWO_THETA[0]) -> bytes:
    """Bruker RAW version 4: a chain of segments, then ranges with a chain of drives each."""
    head = b"RAW4.00\0" + bytes(53)
    text = struct.pack("<IIi", 10, 60, 0) + b"USER".ljust(24, b"\0") + b"nobody".ljust(24, b"\0")
    source = bytearray(120)
    struct.pack_into("<II", source, 0, 30, 120)
    struct.pack_into("<ddddd", source, 72, 1.5418, LINES[0], LINES[1], 1.39225, LINES[2])
    drives = b""
    for name, position in (("Theta", drive / 2), ("2Theta", drive)):
        segment = bytearray(72)
        struct.pack_into("<III", segment, 0, 50, 72, 1 if name == "2Theta" else 0)
        segment[12 : 12 + len(name)] = name.encode()
        struct.pack_into("<d", segment, 56, position)
        drives += bytes(segment)
    block = bytearray(160)
    block[32 : 32 + len(scan)] = scan.encode()
    struct.pack_into("<ddI", block, 72, TWO_THETA[0], 0.05, len(COUNTS))
    struct.pack_into("<d", block, 112, LINES[0])
    struct.pack_into("<II", block, 136, record, len(drives))
    return head + text + bytes(source) + ranges * (bytes(block) + drives + _records(record))


def _records(size: int) -> bytes:
    rest = bytes(size - 4)
    return b"".join(struct.pack("<f", value) + rest for value in COUNTS)


def brml(axis: str = "TwoTheta", width: int = 1, scans: int = 1) -> bytes:
    """A BRML archive with its columns in an unusual order: time, counts, Theta, 2Theta."""
    rows = "".join(f"<Datum>1,{y:.0f},{x / 2},{x}</Datum>" for x, y in zip(TWO_THETA, COUNTS, strict=True))
    xml = f"""<?xml version="1.0" encoding="utf-8"?>
<RawData xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><FixedInformation><Instrument><Tube>
<WaveLengthAlpha1 Unit="Å" Value="{LINES[0]}"/><WaveLengthAlpha2 Unit="Å" Value="{LINES[1]}"/>
<WaveLengthRatio Value="{LINES[2]}"/></Tube></Instrument></FixedInformation>
<DataRoutes><DataRoute RouteFlag="Measured"><ScanInformation><ScanAxes><ScanAxisInfo AxisName="{axis}"/></ScanAxes>
</ScanInformation><DataViews>
<RawDataView xsi:type="FixedRawDataView" Start="0" Length="1" LogicName="MeasuredTime"/>
<RawDataView xsi:type="RecordedRawDataView" Start="1" Length="{width}"><Recording LogicName="Counter0D"/></RawDataView>
<RawDataView xsi:type="VaryingRawDataView" Start="2" Length="2"><Varying><FieldDefinitions AxisId="Theta"/>
<FieldDefinitions AxisId="{axis}"/></Varying></RawDataView></DataViews>{rows}</DataRoute></DataRoutes></RawData>"""
    names = [f"Experiment0/RawData{number}.xml" for number in range(scans)]
    listed = "".join(f"<string>{name}</string>" for name in names)
    container = f"<DataContainer><RawDataReferenceList>{listed}</RawDataReferenceList></DataContainer>"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Experiment0/DataContainer.xml", container)
        for name in names:
            archive.writestr(name, xml)
    return stream.getvalue()


def written(path: Path, content: bytes | str) -> Path:
    """The content as a file."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
