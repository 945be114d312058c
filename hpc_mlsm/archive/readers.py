"""The reader of measured patterns: text files with two or more columns."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.headers import read_columns, read_metadata, read_units
from hpc_mlsm.archive.pattern import Pattern, PatternReject
from hpc_mlsm.archive.text_rows import Table, decode, parse
from hpc_mlsm.errors import PatternError

MIN_POINTS = 10
MAX_BYTES = 64 * 2**20
"""A text file above this is no single pattern; reading it would only fill the memory."""


def read_pattern(path: Path | str) -> Pattern:
    """Read one measured pattern from a text file.

    Comma, semicolon, tab and blank separate columns; decimal commas are understood; header lines may stand
    above the numbers, and lines that begin with # ! % ; or ' count as remarks anywhere. See Pattern for what is
    kept; an uncertainty that is not finite, negative, or zero throughout is left out.

    Raises
    ------
    PatternError
        With file, line and cause. Its reason is one of: missing, unreadable, too_large, empty, binary,
        no_numbers, one_column, too_few_points, non_numeric, ragged, not_finite, descending, duplicate_x,
        constant.
    """
    path = Path(path)
    return pattern_of_text(decode(bytes_of(path), str(path)), path)


def pattern_of_text(lines: list[str], path: Path) -> Pattern:
    """The pattern in the lines of a text file; raises what ``read_pattern`` does."""
    source = str(path)
    table = parse(lines, source)
    columns = read_columns(table.header, table.rows.shape[1], path.suffix.lower())
    x, y = table.rows[:, columns.x].copy(), table.rows[:, columns.y].copy()
    _check(x, y, table, source)
    uncertainty = None
    if columns.uncertainty is not None:
        error = table.rows[:, columns.uncertainty].copy()
        uncertainty = error if np.isfinite(error).all() and error.min() >= 0 and error.any() else None
    unit, y_unit = read_units(columns)
    metadata = read_metadata(table.header)
    if columns.labels:
        metadata |= {"x_label": columns.labels[columns.x], "y_label": columns.labels[columns.y]}
    if y_unit:
        metadata["y_unit"] = y_unit
    return Pattern(path.stem, x, y, columns.axis, unit, uncertainty, metadata, source)


def read_patterns(paths: Iterable[Path]) -> tuple[list[Pattern], list[PatternReject]]:
    """Read many patterns; a file that cannot be used becomes a row of rejects and stops no other."""
    patterns: list[Pattern] = []
    rejects: list[PatternReject] = []
    for path in paths:
        try:
            patterns.append(read_pattern(path))
        except PatternError as error:
            rejects.append(PatternReject.from_error(Path(path).stem, str(path), error))
    return patterns, rejects


def bytes_of(path: Path) -> bytes:
    """Content of a file that can be one pattern.

    Raises
    ------
    PatternError
        "missing", "unreadable" or "too_large".
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise PatternError(
                "too_large",
                f"{path}: {size / 2**20:.0f} MiB, and one pattern in text can have {MAX_BYTES / 2**20:.0f} "
                "MiB at most; split it into one file a pattern",
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        raise PatternError("missing", f"{path}: there is no such file; check the path") from error
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or error
        detail = f"{path}: cannot be read ({cause}); check that it is a file and may be read"
        raise PatternError("unreadable", detail) from error


def _check(x: NDArray[np.float64], y: NDArray[np.float64], table: Table, source: str) -> None:
    """Refuse what no later step could mend, naming the first line at fault."""
    bad = np.flatnonzero(~(np.isfinite(x) & np.isfinite(y)))
    if bad.size:
        raise PatternError(
            "not_finite",
            f"{source}, line {table.line_numbers[bad[0]]}: {x[bad[0]]:g} {y[bad[0]]:g} is not finite "
            f"(rows like it: {bad.size}); remove these rows or reduce the data again",
        )
    if len(x) < MIN_POINTS:
        raise PatternError("too_few_points", f"{source}: {len(x)} points, at least {MIN_POINTS} are needed")
    _check_ascending(x, table, source)
    if np.all(y == y[0]):
        raise PatternError(
            "constant", f"{source}: the signal is {y[0]:g} in all {len(y)} rows; there is no pattern in it"
        )


def _check_ascending(x: NDArray[np.float64], table: Table, source: str) -> None:
    back = np.flatnonzero(x[1:] <= x[:-1])
    if not back.size:
        return
    row = back[0] + 1
    where = f"{source}, line {table.line_numbers[row]}"
    if x[row] == x[row - 1]:
        raise PatternError(
            "duplicate_x",
            f"{where}: the abscissa {x[row]:g} occurs twice in a row; keep one row for each abscissa",
        )
    remedy = (
        "the rows run downwards throughout, reverse their order"
        if (x[1:] < x[:-1]).all()
        else "a second pattern may begin there: keep one pattern a file, rows ascending"
    )
    raise PatternError("descending", f"{where}: the abscissa goes back from {x[row - 1]:g} to {x[row]:g}; {remedy}")
