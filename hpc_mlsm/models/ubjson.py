"""Reading UBJSON (draft 12), the binary JSON in which XGBoost saves its models, without XGBoost.

Only what XGBoost writes: lengths have 64 bits (``L``), arrays are typed (``[$d#``), counted (``[#``) or ended by ``]``.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

_SCALARS = {
    ord(code): struct.Struct(layout)
    for code, layout in {"i": "b", "U": "B", "I": ">h", "l": ">i", "L": ">q", "d": ">f", "D": ">d"}.items()
}
_ARRAYS = {
    ord(code): np.dtype(layout)
    for code, layout in {"i": "i1", "U": "u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}.items()
}
_CONSTANTS = {ord("T"): True, ord("F"): False, ord("Z"): None}
_LENGTH = struct.Struct(">q")

Own = Mapping[str, Callable[[bytes, int], tuple[Any, int]]]
"""Readers of the values of some keys: image and position of the value, to the value and the position behind it."""


def read_ubjson(image: bytes, own: Own | None = None) -> Any:
    """The value that an image holds; typed arrays as big-endian numpy arrays, which are views of it.

    Raises
    ------
    ValueError
        If it holds none, or is cut short.
    """
    try:
        return _value(image, 0, own or {})[0]
    except (IndexError, KeyError, struct.error) as error:
        raise ValueError(f"this is no UBJSON, or it is cut short: {error!r}") from error


def read_counted(image: bytes, at: int) -> tuple[int, int]:
    """How many values the counted array at ``at`` has (``[#`` and a length), and where the first begins."""
    if image[at : at + 2] != b"[#":
        raise ValueError(f"no counted array at byte {at}")
    return _count(image, at + 1)


def _value(image: bytes, at: int, own: Own) -> tuple[Any, int]:
    code, at = image[at], at + 1
    if code == ord("{"):
        return _object(image, at, own)
    if code == ord("["):
        return _array(image, at, own)
    if code == ord("S"):
        return _text(image, at)
    if code in _CONSTANTS:
        return _CONSTANTS[code], at
    scalar = _SCALARS[code]
    return scalar.unpack_from(image, at)[0], at + scalar.size


def _object(image: bytes, at: int, own: Own) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    while image[at] != ord("}"):
        key, at = _text(image, at)
        found[key], at = own[key](image, at) if key in own else _value(image, at, own)
    return found, at + 1


def _array(image: bytes, at: int, own: Own) -> tuple[Any, int]:
    if image[at] == ord("$"):
        dtype, (count, at) = _ARRAYS[image[at + 1]], _count(image, at + 2)
        return np.frombuffer(image, dtype, count, at), at + count * dtype.itemsize
    counted = image[at] == ord("#")
    left, at = _count(image, at) if counted else (-1, at)
    values = []
    while left if counted else image[at] != ord("]"):
        value, at = _value(image, at, own)
        values.append(value)
        left -= 1
    return values, at if counted else at + 1


def _text(image: bytes, at: int) -> tuple[str, int]:
    length, at = _count(image, at - 1)
    return image[at : at + length].decode(), at + length


def _count(image: bytes, at: int) -> tuple[int, int]:
    """The length that follows ``at``, which is ``#`` or what stands before a text; and where what it counts begins."""
    if image[at + 1] != ord("L"):
        raise ValueError(f"a length of another type than L at byte {at + 1}")
    (length,) = _LENGTH.unpack_from(image, at + 2)
    if not 0 <= length <= len(image):
        raise ValueError(f"a length of {length} at byte {at + 1}")
    return length, at + 10
