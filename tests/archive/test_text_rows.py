"""Rows of numbers are found in any dialect, and nothing is lost between header and data."""

import time

import numpy as np
import pytest

from hpc_mlsm.archive.text_rows import decode, parse
from hpc_mlsm.errors import PatternError

X = np.arange(12) * 0.5
Y = np.cos(X)


def rows_of(text: str | bytes) -> np.ndarray:
    raw = text if isinstance(text, bytes) else text.encode()
    return parse(decode(raw, "f.dat"), "f.dat").rows


def written(separator: str, decimal: str = ".", end: str = "\n", tail: str = "") -> str:
    lines = [separator.join((f"{x:.3f}", f"{y:.6e}")).replace(".", decimal) for x, y in zip(X, Y, strict=True)]
    return "".join(line + tail + end for line in lines)


@pytest.mark.parametrize(
    ("separator", "decimal"),
    [("  ", "."), ("\t", "."), (",", "."), (", ", "."), (" ; ", "."), (";", ","), ("\t", ","), (" ", ",")],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_dialect_gives_the_same_numbers(separator: str, decimal: str, end: str) -> None:
    expected = np.column_stack([X, [float(f"{y:.6e}") for y in Y]])
    np.testing.assert_array_equal(rows_of("a header\n" + written(separator, decimal, end)), expected)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_every_encoding_gives_the_same_numbers(encoding: str) -> None:
    raw = ("# r (Å) G\n" + written(" ")).encode(encoding)
    np.testing.assert_allclose(rows_of(raw)[:, 0], X)


def test_integers_beside_decimal_commas_are_understood() -> None:
    text = "".join(f"{i};{i},5\n" if i % 4 == 0 else f"{i};{i}\n" for i in range(12))
    np.testing.assert_array_equal(rows_of(text)[:, 1], [i + 0.5 * (i % 4 == 0) for i in range(12)])


def test_fortran_exponents_are_numbers() -> None:
    text = "".join(f"{i} {i}.5D-02\n" for i in range(12))
    np.testing.assert_allclose(rows_of(text)[:, 1], (np.arange(12) + 0.5) * 0.01)


@pytest.mark.parametrize("mark", "#!%;'")
def test_remarks_are_skipped_anywhere(mark: str) -> None:
    lines = written(" ").splitlines(keepends=True)
    text = f"{mark} a 1 2\n" + "".join(lines[:5]) + f"\n{mark}0.7 1.2\n" + "".join(lines[5:]) + f"{mark} end\n"
    np.testing.assert_allclose(rows_of(text)[:, 0], X)


def test_remarks_behind_numbers_quotes_and_trailing_separators_do_no_harm() -> None:
    np.testing.assert_allclose(rows_of(written(" ", tail="  # why"))[:, 0], X)
    np.testing.assert_allclose(rows_of(written(",", tail=","))[:, 0], X)
    quoted = "".join(f'"{x:.3f}","{y:.6f}"\n' for x, y in zip(X, Y, strict=True))
    np.testing.assert_allclose(rows_of('"r","G"\n' + quoted)[:, 0], X)


def test_a_semicolon_table_with_an_empty_first_cell_is_not_taken_for_a_remark() -> None:
    text = written(";").replace("2.500;", ";2.500;")
    with pytest.raises(PatternError, match=r"f\.dat, line 6.*stands among the data"):
        rows_of(text)


def test_data_begin_behind_the_last_start_marker_though_the_header_has_tables() -> None:
    banks = "".join(f"  {i}  {90 + i}.0  1.62  29.42\n" for i in range(6))
    table = parse(decode(f"{banks}##### start data\n#L r G\n{written(' ')}".encode(), "f"), "f")
    assert table.rows.shape == (12, 2)
    assert table.line_numbers.tolist() == list(range(9, 21))
    assert table.header[:2] == tuple(banks.splitlines()[:2])


def test_header_lines_of_other_width_may_hold_numbers() -> None:
    np.testing.assert_allclose(rows_of("title\n 12\n1 2 3\n" + written(" "))[:, 0], X)


def test_wide_columns_are_all_kept() -> None:
    assert rows_of("".join(f"{i} {i} 0.0 0.1\n" for i in range(12))).shape == (12, 4)


@pytest.mark.parametrize(
    ("text", "reason", "message"),
    [
        ("", "empty", "empty"),
        (" \n\r\n\t\x1a", "empty", "empty"),
        ("\ufeff", "empty", "empty"),
        ("a\nb\x00c\n", "binary", r"line 2: this is binary.*0x00"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "binary", "an HDF5 file"),
        (b"\x1f\x8b\x08" + bytes(100), "binary", "a gzip file"),
        ("just\nwords\n", "no_numbers", "no row of numbers"),
        ("r\n" + "0.1\n" * 20, "one_column", "line 2: one column"),
        ("0.1 2\n0.2 3\n", "too_few_points", "rows of numbers in the file: 2"),
        ("0.1 2\n0.2 3\n# end\n", "too_few_points", "cut short"),
        (written(" ") + "oops\n" + written(" "), "non_numeric", r"line 13: 'oops'.*2 numbers"),
        (written(",").replace("3.000", "NA"), "non_numeric", "line 7: 'NA,"),
        (written(",").replace("3.000,", "3.000,,"), "non_numeric", "line 7"),
        (written(" ") + "END OF FILE\n", "non_numeric", "line 13"),
        ("0.1 2\n0.2 3\nword\n" + written(" "), "non_numeric", r"line 3.*above and below"),
        (written(" ") + "7.0", "ragged", r"line 13: 1 numbers where rows above have 2; .*cut short"),
        (written(" ") + "7.0 1 2\n8.0 1\n", "ragged", r"line 13: 3 numbers.*mend the line"),
    ],
)
def test_bad_text_is_refused_with_file_line_and_cause(text: str | bytes, reason: str, message: str) -> None:
    with pytest.raises(PatternError, match=message) as caught:
        rows_of(text)
    assert caught.value.reason == reason
    assert "f.dat" in caught.value.detail


@pytest.mark.parametrize("line", ["1" * 300_000 + "x", "1 " * 150_000 + "x", "1,1;" * 80_000 + "x"])
def test_a_long_bad_line_costs_linear_time(line: str) -> None:
    # Quadratic backtracking over these lines takes minutes; five seconds leave room for a busy machine.
    start = time.perf_counter()
    with pytest.raises(PatternError):
        rows_of(written(" ") + line + "\n")
    assert time.perf_counter() - start < 5.0
