"""PANalytical XRDML: XML with one or several scans, and the wavelengths of the tube."""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.pattern import Pattern
from hpc_mlsm.archive.scans import Metadata, not_two_theta, scan_name, scan_pattern
from hpc_mlsm.archive.wavelengths import lines_metadata
from hpc_mlsm.errors import PatternError

Element = ElementTree.Element

_ROOT = re.compile(rb"<(?:\w+:)?xrdMeasurements\b")


def is_xrdml(content: bytes) -> bool:
    """Whether a file begins as XRDML does, with any prefix of its namespace."""
    return _ROOT.search(content[:4096]) is not None


def read_xrdml(content: bytes, path: Path) -> list[Pattern]:
    """All scans over 2θ of an XRDML file.

    Raw counts are multiplied by the attenuation factors beside them; ``intensities`` have them in already. The
    wavelength is Kα1; Kα2 and the ratio are kept where the file says that both were used.

    Raises
    ------
    PatternError
        "unreadable" where it is no such XML, "wrong_axis", "empty", or what ``scan_pattern`` raises.
    """
    source = str(path)
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # the latter two of unknown encodings
        raise PatternError("unreadable", f"{source}: not well-formed XML ({error}); copy or export it again") from error
    measured = [
        (_wavelengths(measurement), scan)
        for measurement in _all(root, "xrdMeasurement")
        for scan in _children(measurement, "scan")
    ]
    if not measured:
        raise PatternError("empty", f"{source}: the file holds no scan; export the measurement again")
    return [
        _scan(scan, scan_name(path, index, len(measured)), source, dict(metadata))
        for index, (metadata, scan) in enumerate(measured)
    ]


def _scan(scan: Element, name: str, source: str, metadata: Metadata) -> Pattern:
    points = next(iter(_children(scan, "dataPoints")), None)
    if points is None:
        raise PatternError("empty", f"{source} ({name}): the scan holds no data points (status {scan.get('status')})")
    intensity = _intensity(points, source)
    return scan_pattern(name, source, _two_theta(points, scan, len(intensity), source), intensity, metadata)


def _intensity(points: Element, source: str) -> NDArray[np.float64]:
    reported = next(iter(_children(points, "intensities")), None)
    if reported is not None:
        return _values(reported, source)
    raw = next(iter(_children(points, "counts")), None)
    if raw is None:
        raise PatternError("empty", f"{source}: the scan holds neither intensities nor counts")
    counts = _values(raw, source)
    factors = _children(points, "beamAttenuationFactors") or _children(points, "commonBeamAttenuationFactor")
    if not factors:
        return counts
    attenuation = _values(factors[0], source)
    if len(attenuation) not in (1, len(counts)):
        raise PatternError("ragged", f"{source}: {len(counts)} counts but {len(attenuation)} attenuation factors")
    return counts * attenuation


def _two_theta(points: Element, scan: Element, count: int, source: str) -> NDArray[np.float64]:
    for positions in _children(points, "positions"):
        if positions.get("axis") != "2Theta":
            continue
        unit = positions.get("unit", "deg")
        scale = np.degrees(1.0) if unit == "rad" else 1.0
        listed = next(iter(_children(positions, "listPositions")), None)
        if listed is not None:
            return scale * _values(listed, source)
        ends = [element for key in ("startPosition", "endPosition") for element in _children(positions, key)]
        if len(ends) == 2:
            start, end = (float(_values(element, source)[0]) for element in ends)
            return scale * np.linspace(start, end, count)
    raise not_two_theta(source, scan.get("scanAxis", ""))


def _wavelengths(measurement: Element) -> Metadata:
    used = next(iter(_children(measurement, "usedWavelength")), None)
    if used is None:
        return {}
    values = {key: _number(used, key) for key in ("kAlpha1", "kAlpha2", "kBeta", "ratioKAlpha2KAlpha1")}
    intended = used.get("intended", "").replace("-", "").replace(" ", "").lower()
    if intended == "kbeta":
        return lines_metadata(values["kBeta"])
    if intended == "kalpha1":
        return lines_metadata(values["kAlpha1"])
    return lines_metadata(values["kAlpha1"], values["kAlpha2"], values["ratioKAlpha2KAlpha1"])


def _number(parent: Element, key: str) -> float:
    element = next(iter(_children(parent, key)), None)
    try:
        value = float(element.text or "") if element is not None else 0.0
    except ValueError:
        return 0.0
    return value * (10.0 if element is not None and element.get("unit") == "nm" else 1.0)


def _values(element: Element, source: str) -> NDArray[np.float64]:
    try:
        values = np.array((element.text or "").split(), dtype=np.float64)
    except ValueError as error:
        raise PatternError("non_numeric", f"{source}: {_name(element)} holds what is no number ({error})") from error
    if not len(values):
        raise PatternError("empty", f"{source}: {_name(element)} is empty")
    return values


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _children(parent: Element, name: str) -> list[Element]:
    return [child for child in parent if _name(child) == name]


def _all(root: Element, name: str) -> list[Element]:
    return [element for element in root.iter() if _name(element) == name]
