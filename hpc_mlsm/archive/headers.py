"""What the header of a pattern file says: abscissa, units, columns, and the measurement.

Written after files of PDFgetX2 (several ``key=value`` in a line), PDFgetX3 and xPDFsuite (one ``key = value``
in a line), PDFgetN, Mantid (``#Comment: neutron, Qmin=…``) and spreadsheets (``key;value``). What a header
leaves out stays unknown.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hpc_mlsm.archive.pattern import Axis

_KEYS = {
    "q_min": "qmin",
    "q_max": "qmax",
    "q_max_inst": "qmaxinst",
    "q_damp": "qdamp|qsig",
    "q_broad": "qbroad|qalp",
    "r_min": "rmin",
    "r_max": "rmax|maxR",
    "r_step": "rstep|rgrid",
    "wavelength": "wavelength|lambda",
    "temperature": "temperature|temp",
}
# A key stands alone (not the qmin of optqmin); spreadsheets put a comma or semicolon behind it.
_NUMBERS = {
    key: re.compile(
        rf"(?<![\w.])(?:{names})[\"']?[ \t]*[=:,;][ \t]*([+-]?(?:\d+(?:[.,]\d*)?|\.\d+)(?:e[+-]?\d+)?)"
        r"[ \t]*([^\s\d,;#]*)",
        re.IGNORECASE | re.ASCII,
    )
    for key, names in _KEYS.items()
}
_COMPOSITION = re.compile(r"(?<!\w)composition[ \t]*[=:,;][ \t]*([A-Za-z0-9.()+ \-]+)", re.IGNORECASE)
_MODE = re.compile(r"(?<!\w)mode[ \t]*[=:][ \t]*(x-?ray|neutron)", re.IGNORECASE)
_ATOM_TABLE = re.compile(r"#L symbol valence|Element relAtomNum")
_ATOM_ROW = re.compile(r"\s+([A-Z][a-z]?)((?:\s+-?[\d.]+)+)\s*$")
_LENGTHS = {"å": 1.0, "a": 1.0, "angstrom": 1.0, "ang": 1.0, "nm": 10.0, "pm": 0.01, "m": 1e10}
_PROGRAMS = (
    ("PDFgetN", "PDFgetN", "neutron"),
    ("Get_XPDF", "PDFgetX2", "xray"),
    ("PDFgetX2", "PDFgetX2", "xray"),
    ("xPDFsuite", "xPDFsuite", None),
    ("pdfgetx", "PDFgetX3", None),
)
_OUTPUT = re.compile(r"(?<!\w)outputtype[ \t]*=[ \t]*(\w+)", re.IGNORECASE)
_R_HINT = re.compile(r"G\(r\)|(?<![\w.])(?:rmax|qmaxinst)[ \t]*[=:]", re.IGNORECASE)
_SIGNALS = re.compile(r"g(?:\(r\))?|gr|intensity|int|counts|i|iobs|y|s\(q\)|f\(q\)|s|f", re.IGNORECASE)
_ERRORS = re.compile(r"d_?g(?:\(r\)|r)?|d_?i|d_?y|sigma|esd|err|error|uncertainty|std|sig", re.IGNORECASE)
_AXES: tuple[tuple[Axis, re.Pattern[str]], ...] = (
    ("r", re.compile("r|distance", re.IGNORECASE)),
    ("q", re.compile("q", re.IGNORECASE)),
    ("two_theta", re.compile(r"2[ _-]?(?:th(?:eta)?|θ)\.?|two[ _-]?theta|tth|ttheta", re.IGNORECASE)),
)


@dataclass(frozen=True)
class Columns:
    """Which columns hold what, and what the header calls the first two."""

    x: int = 0
    y: int = 1
    uncertainty: int | None = None
    axis: Axis | None = None
    labels: tuple[str, ...] = ()


def read_metadata(header: Sequence[str]) -> dict[str, str | float]:
    """Values of the header under the keys that Pattern.metadata documents; numbers as float.

    The first mention of a key counts. A wavelength with a unit is brought to Å, a temperature in °C to K.
    """
    metadata: dict[str, str | float] = {}
    for line in header:
        for key, pattern in _NUMBERS.items():
            found = pattern.search(line) if key not in metadata else None
            if found:
                metadata[key] = _in_our_unit(key, float(found[1].replace(",", ".")), found[2].lower())
        composition = _COMPOSITION.search(line)
        if composition and composition[1].strip():
            metadata.setdefault("composition", composition[1].split("  ")[0].strip())
        mode = _MODE.search(line)
        if mode:
            metadata.setdefault("radiation", mode[1].lower().replace("-", ""))
    metadata |= _program(header, metadata)
    atoms = _atoms(header)
    if atoms:
        metadata.setdefault("composition", atoms)
    return metadata


def _in_our_unit(key: str, value: float, unit: str) -> float:
    if key == "wavelength":
        return value * _LENGTHS.get(unit, 1.0)
    if key == "temperature" and unit in ("c", "°c", "degc", "celsius"):
        return value + 273.15
    return value


def _program(header: Sequence[str], known: dict[str, str | float]) -> dict[str, str | float]:
    text = "\n".join(header).lower()
    for mark, program, radiation in _PROGRAMS:
        if mark.lower() in text:
            found: dict[str, str | float] = {"program": program}
            if radiation and "radiation" not in known:
                found["radiation"] = radiation
            return found
    return {}


def _atoms(header: Sequence[str]) -> str:
    """Composition from the table of atoms that PDFgetX2 and PDFgetN write, such as ``"O0.6 Mn0.2 La0.2"``."""
    start = next((i for i, line in enumerate(header) if _ATOM_TABLE.search(line)), None)
    if start is None:
        return ""
    # PDFgetX2 lists valence before the fraction, PDFgetN the fraction first.
    position = 1 if "valence" in header[start] else 0
    atoms = []
    for line in header[start + 1 :]:
        row = _ATOM_ROW.match(line)
        if not row:
            break
        values = row[2].split()
        if len(values) > position:
            atoms.append(f"{row[1]}{values[position].rstrip('0').rstrip('.')}")
    return " ".join(atoms)


def read_columns(header: Sequence[str], count: int, suffix: str) -> Columns:
    """Which of ``count`` columns are abscissa, signal and uncertainty, and what the abscissa is.

    Column names rule; then the suffix .gr, then what the header was written for (``outputtype``), then words
    in it that only a PDF has. Without names the first two columns are taken, in .xye the third as error.
    """
    labels = _labels(header, count)
    bare = [_bare(label) for label in labels]
    axis, x = next(((axis, i) for i, name in enumerate(bare) if (axis := axis_of_name(name))), (None, 0))
    after = range(x + 1, count)
    y = next((i for i in after if bare and _SIGNALS.fullmatch(bare[i])), x + 1 if x + 1 < count else 0)
    error = next((i for i in range(count) if bare and i not in (x, y) and _ERRORS.fullmatch(bare[i])), None)
    if error is None and not labels and suffix == ".xye" and count > 2:
        error = 2
    return Columns(x, y, error, axis or _axis_of_text(header, suffix), tuple(labels))


def _labels(header: Sequence[str], count: int) -> list[str]:
    """Names of the columns: the nearest line above the data with ``count`` words, one of them an abscissa."""
    for line in reversed(header[-12:]):
        line = line.replace('"', "").strip()
        # A leading semicolon is a remark's mark, or the empty name of a table's first column.
        for text in (line, re.sub(r"^[#!%;'\s]+(?:L\s+)?", "", line)):
            parts = [part.strip() for part in re.split(r"[,;\t]", text)]
            if len(parts) < 2:
                parts = re.sub(r"(?<!\s)\s+(?=[(\[])", "", text).split()
            if len(parts) == count and _name_columns([_bare(part) for part in parts]):
                return parts
    return []


def _name_columns(names: list[str]) -> bool:
    """Whether words are names of columns and no prose: an abscissa first, or a signal beside it."""
    return axis_of_name(names[0]) is not None or (any(map(axis_of_name, names)) and any(map(_SIGNALS.fullmatch, names)))


def _bare(label: str) -> str:
    """A column's name without its unit: ``r($\\AA$)`` → r, ``G(r)`` and ``G(r) (1/nm^2)`` → G(r)."""
    keep = re.match(r"\s*[A-Za-z_]+\((?:r|q)\)", label, re.IGNORECASE)
    return keep[0].strip() if keep else re.split(r"[\[(/]", label, maxsplit=1)[0].strip()


def axis_of_name(name: str) -> Axis | None:
    """What an abscissa of this name is, if the name is a usual one."""
    return next((axis for axis, pattern in _AXES if pattern.fullmatch(name)), None)


def _axis_of_text(header: Sequence[str], suffix: str) -> Axis | None:
    text = "\n".join(header)
    output = _OUTPUT.search(text)
    if suffix == ".gr" or (output and output[1].lower() in ("gr", "gofr")):
        return "r"
    if output or suffix in (".sq", ".fq", ".iq"):
        return "q"
    return "r" if _R_HINT.search(text) else None


def read_units(columns: Columns) -> tuple[str | None, str | None]:
    """Units of abscissa ("angstrom", "nm", "degree", "1/angstrom", "1/nm") and signal, None where unnamed."""
    if not columns.labels:
        return None, None
    x_unit = columns.labels[columns.x][len(_bare(columns.labels[columns.x])) :]
    y_unit = columns.labels[columns.y][len(_bare(columns.labels[columns.y])) :]
    length: str | None = _length_in(x_unit)
    if columns.axis == "q" and length:
        length = f"1/{length}"
    if columns.axis == "two_theta":
        length = "degree" if re.search(r"deg|°", x_unit, re.IGNORECASE) else None
    signal = _length_in(y_unit)
    return length, f"1/{signal}^2" if signal and columns.axis == "r" else None


def unit_of_text(text: str) -> Literal["angstrom", "nm", "degree", "1/angstrom", "1/nm"] | None:
    """A unit of an abscissa from the words of an attribute: ``Å``, ``A-1``, ``nm^-1``, ``1/angstrom``, ``deg`` …"""
    if re.search(r"deg|°", text, re.IGNORECASE):
        return "degree"
    length: Literal["angstrom", "nm"] | None = _length_in(re.sub(r"[\^*{}()]|-?[0-9]|[⁻¹]", " ", text))
    if length is None:
        return None
    inverse = re.search(r"^\s*1\s*/|\^?\{?-\s*1|⁻¹|per", text) is not None
    if length == "nm":
        return "1/nm" if inverse else "nm"
    return "1/angstrom" if inverse else "angstrom"


def _length_in(text: str) -> Literal["angstrom", "nm"] | None:
    if re.search(r"(?<![A-Za-z])nm", text):
        return "nm"
    return "angstrom" if re.search(r"\\AA|[\u00c5\u212b]|(?<![A-Za-z])A(?![A-Za-z])|[Aa]ng", text) else None
