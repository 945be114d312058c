"""Bytes of a text file → its header lines and its rows of numbers, whatever the dialect.

A number is what a data file writes as one: no digit grouping, no underscores; ``1.0D-02`` (Fortran) counts,
and so do ``nan`` and ``inf``, so that they are reported as what they are and not as text.
"""

import re
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import PatternError

COMMENT_MARKS = ("#", "!", "%", ";", "'")
RUN_LENGTH = 3
"""So many rows of numbers in a row, with the same number of columns, begin the data."""

_FIRST_CHARACTERS = frozenset("0123456789+-.,nNiI")
_START_MARKER = re.compile(r"\s*#+\s*start data\b", re.IGNORECASE)
_LINE_END = re.compile(r"\r\n|\n|\r")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_MAGIC = ((b"\x89HDF", "an HDF5 file"), (b"\x1f\x8b", "a gzip file"), (b"PK\x03\x04", "a zip or Excel file"))


@dataclass(frozen=True)
class Dialect:
    """How a row of numbers is written: what separates columns, and which decimal mark it uses."""

    separator: str
    decimal_comma: bool = False
    row: re.Pattern[str] = field(init=False, repr=False)
    table_row: re.Pattern[str] = field(init=False, repr=False)
    split: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        mark = "," if self.decimal_comma else r"\."
        # Possessive throughout, so that a long bad line costs linear time only.
        digits = rf"(?:[0-9]++(?:{mark}[0-9]*+)?+|{mark}[0-9]++)(?:[eEdD][+-]?+[0-9]++)?+"
        number = rf"[+-]?+(?:{digits}|nan|inf(?:inity)?+)"
        more = rf"(?:{self.separator}{number})"
        flags = re.IGNORECASE | re.ASCII
        object.__setattr__(self, "row", re.compile(rf"{number}{more}*+", flags))
        object.__setattr__(self, "table_row", re.compile(rf"{number}{more}++", flags))
        object.__setattr__(self, "split", re.compile(self.separator))

    def is_table_row(self, line: str) -> bool:
        """Whether a line is a row of two numbers or more."""
        return self.table_row.fullmatch(self._without_empty_end(line)) is not None

    def tokens(self, line: str) -> list[str] | None:
        """The numbers of a line, as text that ``float`` takes; None where the line is no row of numbers."""
        line = self._without_empty_end(line)
        if not self.row.fullmatch(line):
            return None
        tokens = self.split.split(line)
        return [token.replace(",", ".") for token in tokens] if self.decimal_comma else tokens

    def _without_empty_end(self, line: str) -> str:
        return line if self.separator == _BLANK else line.rstrip(",; \t")


_BLANK = r"[ \t]++"
DIALECTS = (
    Dialect(_BLANK),
    Dialect(r"[ \t]*+,[ \t]*+"),
    Dialect(r"[ \t]*+;[ \t]*+"),
    Dialect(r"[ \t]*+;[ \t]*+", decimal_comma=True),
    Dialect(_BLANK, decimal_comma=True),
)


@dataclass(frozen=True)
class Table:
    """Header lines of a file and its rows of numbers, shape (n, columns), with each row's line number."""

    header: tuple[str, ...]
    rows: NDArray[np.float64]
    line_numbers: NDArray[np.int64]


@dataclass
class _Lines:
    """The lines behind the header's marker, sorted into rows of numbers and text, by index in the file."""

    source: str
    lines: list[str]
    numeric: dict[int, list[str]] = field(default_factory=dict)
    text: list[int] = field(default_factory=list)


def decode(raw: bytes, source: str) -> list[str]:
    """Lines of a text file in UTF-8 (with or without mark), marked UTF-16, or else Latin-1; any line ending.

    Raises
    ------
    PatternError
        "empty" where there is nothing but white space, "binary" where the bytes are no text.
    """
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if raw.startswith(mark)), "utf-8")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    text = text.lstrip("\ufeff").rstrip("\x1a")
    if not text.strip():
        raise PatternError("empty", f"{source}: the file is empty; two columns of numbers were expected")
    control = _CONTROL.search(text)
    if control:
        what = next((kind for magic, kind in _MAGIC if raw.startswith(magic)), "binary")
        line = len(_LINE_END.findall(text, 0, control.start())) + 1
        raise PatternError(
            "binary",
            f"{source}, line {line}: this is {what}, not text (character {ord(control[0]):#04x}); "
            "export the pattern as two columns of text",
        )
    return _LINE_END.split(text)


def parse(lines: list[str], source: str) -> Table:
    """Find the header and the rows of numbers.

    Data begin behind a ``start data`` marker (PDFgetX, PDFgetN, xPDFsuite) where there is one, else at the
    first RUN_LENGTH rows with equal columns. From there on everything but remarks must be a row of numbers.

    Raises
    ------
    PatternError
        "no_numbers", "one_column", "too_few_points", "non_numeric" or "ragged", with file, line and cause.
    """
    marker = max((i for i, line in enumerate(lines) if _START_MARKER.match(line)), default=-1)
    cleaned = [_clean(line) for line in lines]
    dialect = _dialect(cleaned[marker + 1 :])
    sorted_lines = _Lines(source, lines)
    for index in range(marker + 1, len(lines)):
        line = cleaned[index]
        if not line or _is_remark(line, dialect):
            continue
        tokens = dialect.tokens(line)
        if tokens is None:
            sorted_lines.text.append(index)
        else:
            sorted_lines.numeric[index] = tokens
    start = _data_start(sorted_lines)
    _refuse_bad_lines(sorted_lines, start)
    body = [index for index in sorted_lines.numeric if index >= start]
    rows = _as_floats([sorted_lines.numeric[index] for index in body])
    return Table(tuple(lines[:start]), rows, np.array(body, dtype=np.int64) + 1)


def _clean(line: str) -> str:
    """Without surrounding white space, quotation marks, and a remark behind the numbers."""
    line = line.strip().replace('"', "")
    return line if line.startswith("#") else line.partition("#")[0].rstrip()


def _is_remark(line: str, dialect: Dialect) -> bool:
    # In a semicolon table a leading semicolon is an empty first cell.
    return line.startswith(COMMENT_MARKS) and not (line[0] == ";" and ";" in dialect.separator)


def _dialect(lines: list[str]) -> Dialect:
    """The dialect in which most lines are rows of two numbers or more; the earlier one where several tie."""
    likely = [line for line in lines if line[:1] in _FIRST_CHARACTERS]
    best, most = DIALECTS[0], 0
    for dialect in DIALECTS:
        count = sum(map(dialect.is_table_row, likely))
        if count > most:
            best, most = dialect, count
        if count == len(likely):
            break
    return best


def _data_start(found: _Lines) -> int:
    """Index of the first line of data."""
    run: list[int] = []
    width = 0
    for index, tokens in found.numeric.items():
        if run and (width != len(tokens) or bisect(found.text, index) != bisect(found.text, run[0])):
            run = []
        if len(tokens) > 1:
            run.append(index)
            width = len(tokens)
        if len(run) == RUN_LENGTH:
            _refuse_rows_above(found, run[0], width)
            return run[0]
    raise _nothing_usable(found)


def _refuse_rows_above(found: _Lines, start: int, width: int) -> None:
    """Raise where rows like the data lie above a line of text before the data: they would be lost."""
    above = {i for i, tokens in found.numeric.items() if i < start and len(tokens) == width}
    if not above:
        return
    first = min(above)
    line = min(i for i in (*found.text, *found.numeric) if i > first and i not in above) + 1
    raise PatternError(
        "non_numeric",
        f"{found.source}, line {line}: this line is not {width} numbers, but rows of {width} numbers lie "
        "above and below it; mend the line, or put # in front of lines that are no data",
    )


def _nothing_usable(found: _Lines) -> PatternError:
    source, numeric = found.source, found.numeric
    if not numeric:
        return PatternError("no_numbers", f"{source}: no row of numbers was found; two columns were expected")
    if max(map(len, numeric.values())) == 1:
        line = next(iter(numeric)) + 1
        return PatternError(
            "one_column",
            f"{source}, line {line}: one column of numbers was found, two are needed (abscissa and signal)",
        )
    return PatternError(
        "too_few_points",
        f"{source}: rows of numbers in the file: {len(numeric)}, but no {RUN_LENGTH} in a row with the same "
        "number of columns; the file is cut short or is no table of a pattern",
    )


def _refuse_bad_lines(found: _Lines, start: int) -> None:
    """Raise for the first line of text, or row with too few or too many numbers, among the data."""
    width = len(found.numeric[start])
    text = next((i for i in found.text if i > start), None)
    ragged = next((i for i, tokens in found.numeric.items() if i > start and len(tokens) != width), None)
    if text is not None and (ragged is None or text < ragged):
        raise PatternError(
            "non_numeric",
            f"{found.source}, line {text + 1}: {found.lines[text].strip()[:60]!r} stands among the data, "
            f"where {width} numbers were expected; mend the line, or put # in front of it",
        )
    if ragged is not None:
        last = ragged == max(found.numeric)
        raise PatternError(
            "ragged",
            f"{found.source}, line {ragged + 1}: {len(found.numeric[ragged])} numbers where rows above have "
            f"{width}; " + ("the file looks cut short, copy it again" if last else "mend the line"),
        )


def _as_floats(rows: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    try:
        return np.array(rows, dtype=np.float64)
    except ValueError:
        # Fortran writes double precision as 1.0D-02.
        return np.char.replace(np.char.upper(np.array(rows)), "D", "E").astype(np.float64)
