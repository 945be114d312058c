"""From the bytes of a CIF to its data blocks, and tolerant access to what the blocks hold."""

import gzip
import io
import math
import re
import stat
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import gemmi
from gemmi import cif

from hpc_mlsm.errors import StructureError
from hpc_mlsm.structures.cif2 import as_cif1, is_cif2

MAX_BYTES = 128 * 2**20
"""Files beyond this (unpacked) are refused: the largest CIFs of COD, with reflection lists, stay below it."""

_HTML = re.compile(r"<(!doctype|html|head|body|title|\?xml)", re.IGNORECASE)
_FRACTION = re.compile(r"([+-]?\d+)/(\d+)$")
_ABSENT = frozenset({"", "?", "."})


@dataclass(frozen=True)
class CifBlock:
    """One data block; finds items by name in any case, in the notation of CIF 1 or with the dot of DDLm."""

    block: cif.Block

    @property
    def name(self) -> str:
        """Name of the block, without ``data_``."""
        return str(self.block.name).strip()

    def text(self, *tags: str) -> str | None:
        """Value of the first of these items that has one, unquoted and on one line."""
        for tag in tags:
            for spelling in _spellings(tag):
                raw = self.block.find_value(spelling)
                value = " ".join(_unquoted(raw).split()) if raw else ""
                if value not in _ABSENT:
                    return value
        return None

    def number(self, *tags: str) -> float | None:
        """The first of these items that is a number, without its standard uncertainty."""
        for tag in tags:
            value = number(self.text(tag) or "")
            if value is not None:
                return value
        return None

    def column(self, *tags: str) -> list[str]:
        """Values of the first of these items that is there, unquoted; one for each row of its loop."""
        for tag in tags:
            for spelling in _spellings(tag):
                raw = list(self.block.find_values(spelling))
                if raw:
                    return [_unquoted(value) if value[:1] in "'\";" else value for value in raw]
        return []

    @property
    def has_atoms(self) -> bool:
        """Whether the block lists atoms at all."""
        return bool(self.column("_atom_site_fract_x", "_atom_site_label", "_atom_site_type_symbol"))


def number(text: str) -> float | None:
    """A number as CIFs write it: ``0.123(4)``, ``.5``, ``1/3``; None for ``?``, ``.`` and anything else."""
    value = cif.as_number(text.strip())
    if math.isfinite(value):
        return float(value)
    fraction = _FRACTION.match(text.strip())
    if fraction and int(fraction.group(2)):
        return int(fraction.group(1)) / int(fraction.group(2))
    return None


def numbers(column: Iterable[str]) -> list[float | None]:
    """``number`` of each value."""
    return [number(value) for value in column]


def read_raw(path: Path) -> bytes:
    """Content of a file as it lies on disk.

    Raises
    ------
    StructureError
        With reason ``unreadable`` or ``too_large``.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise StructureError("unreadable", "not a regular file; a pipe or device cannot be read as a CIF")
        with path.open("rb") as file:
            return _within_limit(file.read(MAX_BYTES + 1))
    except OSError as error:
        raise StructureError("unreadable", f"the file cannot be read: {error.strerror or error}") from error


def unpacked(raw: bytes) -> bytes:
    """The text of a gzipped CIF, and anything else as it is.

    Raises
    ------
    StructureError
        With reason ``unreadable`` or ``too_large``.
    """
    if raw[:2] != b"\x1f\x8b":
        return raw
    try:
        with gzip.open(io.BytesIO(raw)) as file:
            return _within_limit(file.read(MAX_BYTES + 1))
    except (OSError, EOFError, zlib.error) as error:
        message = f"the gzip file is damaged or cut off: {error}; fetch it again"
        raise StructureError("unreadable", message) from error


def _within_limit(content: bytes) -> bytes:
    if len(content) > MAX_BYTES:
        limit = MAX_BYTES // 2**20
        raise StructureError("too_large", f"the file is larger than {limit} MiB; remove data that is no structure")
    return content


def read_blocks(content: bytes | str) -> list[CifBlock]:
    """Data blocks of a CIF.

    Raises
    ------
    StructureError
        With reason ``empty``, ``not_cif`` or ``cif_syntax``.
    """
    text = content if isinstance(content, str) else _decode(content)
    text = text.lstrip("\ufeff").rstrip("\x1a\x00 \t\r\n") + "\n"
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise StructureError("empty", "the file is empty")
    if "\x00" in text:
        raise StructureError("not_cif", "the file holds binary data, not text")
    if _HTML.match(text.lstrip()[:20]):
        raise StructureError("not_cif", "the file is a web page or XML, not a CIF; download it again")
    try:
        document = _parsed(text)
    except (ValueError, RuntimeError) as error:
        if not re.search(r"^\s*data_", text, re.IGNORECASE | re.MULTILINE):
            raise StructureError("not_cif", "the file has no data_ block, so it is not a CIF") from error
        where = str(error).removeprefix("data:")
        raise StructureError("cif_syntax", f"not valid CIF, perhaps cut off, at line {where}") from error
    blocks = [CifBlock(block) for block in document]
    if not blocks:
        raise StructureError("not_cif", "the file has no data_ block, so it is not a CIF")
    return blocks


def _parsed(text: str) -> cif.Document:
    """The document; of CIF 2 as it is where it uses nothing new, else in the syntax of CIF 1."""
    try:
        return cif.read_string(text.encode("utf-8", "replace"), check_level=0)
    except (ValueError, RuntimeError):
        if not is_cif2(text):
            raise
    return cif.read_string(as_cif1(text).encode("utf-8", "replace"), check_level=0)


def _decode(content: bytes) -> str:
    """Text in UTF-8, UTF-16 with or without a byte-order mark, or else Latin-1, which never fails."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", "replace")
    if content[1:8:2] == b"\0\0\0\0":
        return content.decode("utf-16-le", "replace")
    if content[0:8:2] == b"\0\0\0\0":
        return content.decode("utf-16-be", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _unquoted(raw: str) -> str:
    return str(gemmi.cif.as_string(raw)) if raw[:1] in "'\";" else raw


_CATEGORIES = re.compile(
    r"_(cell|atom_site_aniso|atom_site|space_group_symop|space_group|symmetry_equiv|symmetry"
    r"|chemical_formula|chemical_name|exptl_crystal|journal)_",
    re.IGNORECASE,
)


@lru_cache(maxsize=1024)
def _spellings(tag: str) -> tuple[str, ...]:
    """A tag as CIF 1 writes it and as DDLm does: ``_cell_length_a`` and ``_cell.length_a``."""
    match = _CATEGORIES.match(tag)
    return (tag, f"_{match.group(1)}.{tag[match.end() :]}") if match else (tag,)
