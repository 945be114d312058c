"""What XGBoost saves as UBJSON is read as it reads it itself."""

import json
import struct
from typing import Any

import numpy as np
import pytest
import xgboost
from blobs import CLASSES, blobs

from hpc_mlsm.models.ubjson import read_counted, read_ubjson

ROWS = blobs(200, 0)


def plain(value: Any) -> Any:
    """Arrays as lists, and floats as XGBoost writes them."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return [float(np.float32(one)) if value.dtype.kind == "f" else int(one) for one in value]
    return [plain(one) for one in value] if isinstance(value, list) else value


def singles(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: singles(one) for key, one in value.items()}
    if isinstance(value, list):
        return [singles(one) for one in value]
    return float(np.float32(value)) if isinstance(value, float) else value


def test_a_model_reads_as_its_json_does() -> None:
    settings = {"objective": "multi:softprob", "num_class": CLASSES, "max_depth": 3}
    booster = xgboost.train(settings, xgboost.DMatrix(*ROWS[:1], label=ROWS[1]), 3)
    booster.set_attr(best="3", name="größe")
    read = plain(read_ubjson(bytes(booster.save_raw("ubj"))))
    assert read == singles(json.loads(booster.save_raw("json")))


def text(words: str) -> bytes:
    return b"L" + struct.pack(">q", len(words.encode())) + words.encode()


@pytest.mark.parametrize(
    ("image", "value"),
    [
        (b"{" + text("a") + b"T" + text("b") + b"Z}", {"a": True, "b": None}),
        (b"[FTi\x05]", [False, True, 5]),
        (b"[#L" + struct.pack(">q", 2) + b"U\xffS" + text("ä"), [255, "ä"]),
        (b"D" + struct.pack(">d", 0.1), 0.1),
        (b"[$I#L" + struct.pack(">q", 2) + struct.pack(">hh", -3, 300), [-3, 300]),
        (b"{}", {}),
        (b"[]", []),
    ],
)
def test_values_of_all_kinds(image: bytes, value: Any) -> None:
    read = read_ubjson(image)
    assert (read.tolist() if isinstance(read, np.ndarray) else read) == value


@pytest.mark.parametrize(
    "image",
    [
        b"",
        b"{",
        b"{" + text("a"),
        b"?",
        b"[$d#L" + struct.pack(">q", 3) + b"\0" * 8,
        b"[$d#U\x03" + b"\0" * 12,
        b"S" + b"L" + struct.pack(">q", -1),
        b"S" + b"L" + struct.pack(">q", 1) + b"\xff",
        b"d\0\0",
    ],
)
def test_what_is_none_is_refused(image: bytes) -> None:
    with pytest.raises(ValueError, match=r"UBJSON|length|utf-8|buffer"):
        read_ubjson(image)


def test_a_key_can_have_a_reader_of_its_own() -> None:
    image = b"{" + text("many") + b"[#L" + struct.pack(">q", 3) + b"i\1i\2i\3" + text("more") + b"i\4}"

    def skipped(whole: bytes, at: int) -> tuple[Any, int]:
        count, first = read_counted(whole, at)
        return (count, whole[first : first + 2]), first + 2 * count

    assert read_ubjson(image, {"many": skipped}) == {"many": (3, b"i\1"), "more": 4}
    with pytest.raises(ValueError, match="no counted array"):
        read_counted(b"[]", 0)
