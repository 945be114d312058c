"""GSAS powder data: text with BANK headers, 2θ in hundredths of a degree.

Record types after Larson & Von Dreele (2004), GSAS manual, LAUR 86-748: STD 10(I2,F6.0), ESD 10F8.0, FXY and FXYE one
point a line. Files written freely, numbers apart by blanks, are common and read too.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.headers import read_metadata
from hpc_mlsm.archive.pattern import Pattern
from hpc_mlsm.archive.scans import scan_name, scan_pattern
from hpc_mlsm.errors import PatternError

_CARD = 80
_TYPES = ("STD", "ESD", "FXY", "FXYE")
_CONSTANT = ("CONS", "CONST")


@dataclass(frozen=True)
class _Bank:
    """A BANK line: number of points, binning with its coefficients, record type, and the data lines below it."""

    line: int
    points: int
    binning: str
    coefficients: tuple[float, ...]
    record: str
    data: tuple[str, ...]


def is_gsas(lines: list[str]) -> bool:
    """Whether text is GSAS powder data: a BANK line in it."""
    return any(line.startswith("BANK ") for line in lines) or _is_one_record(lines)


def read_gsas(lines: list[str], path: Path) -> list[Pattern]:
    """All banks of a GSAS file.

    Raises
    ------
    PatternError
        "unsupported" for time-of-flight binnings and other record types, "non_numeric", "ragged" (fewer points than
        announced), or what ``scan_pattern`` raises.
    """
    if _is_one_record(lines):
        text = lines[0]
        lines = [text[start : start + _CARD] for start in range(0, len(text), _CARD)]
    source = str(path)
    starts = [index for index, line in enumerate(lines) if line.startswith("BANK ")]
    banks = [_bank(lines, start, end, source) for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)]
    metadata = read_metadata(lines[: starts[0]])
    patterns = []
    for index, bank in enumerate(banks):
        x, y, uncertainty = _points(bank, source)
        patterns.append(scan_pattern(scan_name(path, index, len(banks)), source, x, y, dict(metadata), uncertainty))
    return patterns


def _is_one_record(lines: list[str]) -> bool:
    """Unix direct-access files: cards of 80 characters without line ends."""
    filled = [line for line in lines if line.strip()]
    return len(filled) == 1 and len(lines[0]) > 2 * _CARD and lines[0][_CARD::_CARD].find("B") >= 0


def _bank(lines: list[str], start: int, end: int, source: str) -> _Bank:
    words = lines[start].split()
    record = words.pop() if words[-1].isalpha() and words[-1] in (*_TYPES, "ALT") else "STD"
    where = f"{source}, line {start + 1}"
    try:
        points, binning = int(words[2]), words[4]
        coefficients = tuple(map(float, words[5:]))
    except (IndexError, ValueError) as error:
        raise PatternError(
            "non_numeric", f"{where}: this BANK line cannot be read; compare it with the manual"
        ) from error
    if record == "ALT" or binning not in _CONSTANT or len(coefficients) < 2:
        raise PatternError(
            "unsupported",
            f"{where}: binning {binning} with records {record} is not a scan over 2θ with constant steps (time of "
            f"flight?); {' or '.join(_CONSTANT)} with {', '.join(_TYPES)} can be read",
        )
    if points < 1:
        raise PatternError("empty", f"{where}: the bank announces {points} points")
    data = tuple(line for line in lines[start + 1 : end] if line.strip() and not line.startswith("#"))
    return _Bank(start + 1, points, binning, coefficients, record, data)


def _points(bank: _Bank, source: str) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]:
    """2θ (degree), intensity and uncertainty."""
    counted = bank.coefficients[0] + bank.coefficients[1] * np.arange(bank.points, dtype=np.float64)
    if bank.record in ("FXY", "FXYE"):
        width = len(bank.record) - 1
        table = _free(bank, source).reshape(-1, width)
        uncertainty = table[:, 2] if width == 3 else None
        return table[:, 0] / 100.0, table[:, 1], uncertainty
    if bank.record == "ESD":
        pairs = _numbers(bank, 2 * bank.points, source).reshape(-1, 2)
        return counted / 100.0, pairs[:, 0], pairs[:, 1]
    fields = _fixed(bank, bank.points)
    if fields is None:
        values = _numbers(bank, bank.points, source)
        return counted / 100.0, values, None
    counters = np.array([float(field[:2].strip() or 1) for field in fields])
    values = np.array([float(field[2:]) for field in fields])
    return counted / 100.0, values, np.sqrt(np.maximum(values, 0.0) / np.maximum(counters, 1.0))


def _free(bank: _Bank, source: str) -> NDArray[np.float64]:
    """Numbers of FXY and FXYE lines, one point a line; extra lines than announced are kept, missing ones refused."""
    width = len(bank.record) - 1
    if len(bank.data) < bank.points:
        raise _missing(bank, len(bank.data), source)
    rows = [line.split() for line in bank.data]
    odd = next((row for row in rows if len(row) != width), None)
    if odd is not None:
        raise PatternError(
            "ragged", f"{source}: a line of bank at line {bank.line} has {len(odd)} numbers, {width} are needed"
        )
    return _floats([word for row in rows for word in row], bank, source)


def _numbers(bank: _Bank, needed: int, source: str) -> NDArray[np.float64]:
    """``needed`` numbers, blanks between them or in fields of 8 characters."""
    words = [word for line in bank.data for word in line.split()]
    if len(words) != needed:
        fields = _fields(bank)
        if len(fields) < needed:
            raise _missing(bank, min(len(words), len(fields)), source)
        words = [field.strip() or "0" for field in fields[:needed]]
    return _floats(words, bank, source)


def _fields(bank: _Bank) -> list[str]:
    return [line[at : at + 8] for line in bank.data for at in range(0, min(len(line.rstrip()), _CARD), 8)]


def _fixed(bank: _Bank, needed: int) -> list[str] | None:
    """Fields of 8 characters if the lines are such: full cards, every field ending in a digit or point."""
    fields = _fields(bank)
    if len(bank.data) != math.ceil(needed / 10) or len(fields) != needed:
        return None
    right = all(len(field) == 8 and (field[-1].isdigit() or field[-1] == ".") for field in fields)
    return fields if right and all(_is_field(field) for field in fields) else None


def _is_field(field: str) -> bool:
    try:
        return float(field[2:]) >= 0 and (not field[:2].strip() or int(field[:2]) > 0)
    except ValueError:
        return False


def _floats(words: list[str], bank: _Bank, source: str) -> NDArray[np.float64]:
    try:
        return np.array(words, dtype=np.float64)
    except ValueError as error:
        raise PatternError(
            "non_numeric", f"{source}: below the BANK line {bank.line} stands what is no number ({error}); mend it"
        ) from error


def _missing(bank: _Bank, found: int, source: str) -> PatternError:
    return PatternError(
        "ragged",
        f"{source}: bank at line {bank.line} announces {bank.points} points ({bank.record}), data for fewer are there "
        f"({found} numbers or lines); the file is cut short, copy it again",
    )
