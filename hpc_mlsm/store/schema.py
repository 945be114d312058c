"""What a shard holds, as values; how it lies in HDF5 is the subject of ``layout``, on disk of ``shard``."""

import hashlib
import json
import re
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import StoreError

SCHEMA_VERSION = 1
"""Version of the shard layout and of the index; other versions are refused."""

SHARD_NAME = re.compile(r"shard-[A-Za-z0-9_.-]+\.h5")
"""Only files with such names belong to a store; others in its folder are left alone."""

Kind = Literal["pdf", "powder"]

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_RESERVED = frozenset({"variant"})


@dataclass(frozen=True, eq=False)
class Axis:
    """The grid of the patterns: ``("r", "angstrom", …)`` or ``("two_theta", "degree", …)``, values of shape (n,)."""

    name: str
    unit: str
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StructureRows:
    """Where one structure lies in a shard.

    Its variants are rows ``first_row`` to ``first_row + n_rows``, its base pattern is row ``position`` of the base
    patterns. ``digest`` is a hash over its id, content hash, patterns and parameters.
    """

    id: str
    content_hash: str
    first_row: int
    n_rows: int
    position: int
    digest: str


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """What the index remembers of a finished shard: small, picklable, sent from the worker that wrote it.

    ``size`` (bytes) and ``checksum`` (blake2b, hexadecimal) are of the whole file.
    """

    name: str
    config_hash: str
    rows: int
    n_structures: int
    size: int
    checksum: str
    structures: tuple[StructureRows, ...]


@dataclass(frozen=True, eq=False)
class ShardContent:
    """Everything in a shard: S structures, each with one base pattern and any number of variants, n points each.

    ``base`` is (S, n) and ``patterns`` (rows, n), both float32; the rows of structure s are
    ``offsets[s]:offsets[s + 1]``. ``variants`` (rows,) numbers the variants within their structure. ``parameters``
    maps a name such as ``u_iso`` to its unit and its values (rows,), float64; NaN there means "does not apply".
    ``config_hash`` names the parameters that the patterns were computed with.
    """

    kind: Kind
    axis: Axis
    signal: str
    signal_unit: str
    structure_ids: tuple[str, ...]
    content_hashes: tuple[str, ...]
    base: NDArray[np.float32]
    offsets: NDArray[np.int64]
    patterns: NDArray[np.float32]
    parameters: dict[str, tuple[str, NDArray[np.float64]]]
    variants: NDArray[np.int64]
    config_hash: str
    engine: str
    code_version: str

    def check(self) -> None:
        """Refuse a content that contradicts itself or holds NaN or infinite intensities.

        Raises
        ------
        StoreError
            Says which field is wrong, what was found and what is needed.
        """
        _check_names(self)
        _check_shapes(self)
        for label, values in (("base", self.base), ("patterns", self.patterns)):
            finite = np.isfinite(values).all(axis=1)
            if not finite.all():
                row = int(np.argmin(finite))
                raise StoreError(
                    f"shard content: {label} row {row} (structure {self._structure_of(label, row)}) holds NaN or "
                    "infinity; only finite patterns are stored: quarantine the structure instead"
                )

    def select(self, positions: NDArray[np.int64]) -> Self:
        """The same shard with only the structures at these positions, in this order."""
        spans = [np.arange(self.offsets[s], self.offsets[s + 1]) for s in positions]
        rows = np.concatenate([*spans, np.zeros(0, np.int64)]).astype(np.int64)
        lengths = np.array([len(span) for span in spans], dtype=np.int64)
        return replace(
            self,
            structure_ids=tuple(self.structure_ids[s] for s in positions),
            content_hashes=tuple(self.content_hashes[s] for s in positions),
            base=self.base[positions],
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            patterns=self.patterns[rows],
            parameters={name: (unit, values[rows]) for name, (unit, values) in self.parameters.items()},
            variants=self.variants[rows],
        )

    def structures(self) -> tuple[StructureRows, ...]:
        """Where each structure lies, with its digest."""
        found = []
        for s, (identifier, content_hash) in enumerate(zip(self.structure_ids, self.content_hashes, strict=True)):
            first, stop = int(self.offsets[s]), int(self.offsets[s + 1])
            digest = self._digest_of(s, first, stop)
            found.append(StructureRows(identifier, content_hash, first, stop - first, s, digest))
        return tuple(found)

    def digest(self, structures: tuple[StructureRows, ...]) -> str:
        """Hash over all that the shard means, its structures being summed up by their digests; hexadecimal."""
        text = json.dumps(
            [
                SCHEMA_VERSION,
                [self.kind, self.axis.name, self.axis.unit, self.signal, self.signal_unit],
                [self.config_hash, self.engine, self.code_version],
                [[row.id, row.content_hash, row.first_row, row.n_rows, row.digest] for row in structures],
            ]
        )
        whole = hashlib.blake2b(text.encode(), digest_size=16)
        whole.update(_bytes(self.axis.values, "<f8"))
        return whole.hexdigest()

    def _digest_of(self, s: int, first: int, stop: int) -> str:
        units = {name: unit for name, (unit, _) in self.parameters.items()}
        text = json.dumps([self.structure_ids[s], self.content_hashes[s], units], sort_keys=True)
        one = hashlib.blake2b(text.encode(), digest_size=16)
        one.update(_bytes(self.base[s], "<f4"))
        one.update(_bytes(self.patterns[first:stop], "<f4"))
        one.update(_bytes(self.variants[first:stop], "<i8"))
        for name in sorted(self.parameters):
            one.update(_bytes(self.parameters[name][1][first:stop], "<f8"))
        return one.hexdigest()

    def _structure_of(self, label: str, row: int) -> str:
        position = row if label == "base" else int(np.searchsorted(self.offsets, row, side="right")) - 1
        return self.structure_ids[position]


def shard_name(config_hash: str, structures: list[tuple[str, str]]) -> str:
    """File name of the shard that holds these (id, content hash) pairs, computed under this configuration.

    The name depends on nothing else, so a task that is tried twice writes the same file, and no shard is ever
    overwritten by one with other structures.
    """
    text = json.dumps([config_hash, structures])
    return f"shard-{hashlib.blake2b(text.encode(), digest_size=10).hexdigest()}.h5"


def _bytes(values: NDArray[Any], dtype: str) -> bytes:
    return values.astype(dtype, copy=False).tobytes()


def _refuse(what: str, found: object, needed: str) -> StoreError:
    return StoreError(f"shard content: {what} is {found}, but must be {needed}")


def _check_names(content: ShardContent) -> None:
    if content.kind not in get_args(Kind):
        raise _refuse("kind", repr(content.kind), f"one of {', '.join(get_args(Kind))}")
    names = [content.axis.name, content.signal, *content.parameters]
    for name in names:
        if not _NAME.fullmatch(name) or name in _RESERVED:
            raise _refuse("a name", repr(name), "letters, digits and underscores, and not 'variant'")
    if content.axis.name == content.signal:
        raise _refuse("the signal", repr(content.signal), "named differently from the axis")
    texts = (*content.structure_ids, *content.content_hashes, content.config_hash)
    for text in texts:
        if not text or "\0" in text or text.encode(errors="ignore").decode() != text:
            raise _refuse("an id or hash", repr(text), "text without NUL that UTF-8 can hold, and not empty")
    if len(set(content.structure_ids)) != len(content.structure_ids):
        raise _refuse("structure_ids", "holding one id twice", "unique")


def _check_shapes(content: ShardContent) -> None:
    count, n, rows = len(content.structure_ids), len(content.axis.values), len(content.patterns)
    if not count or not n:
        raise _refuse("the shard", f"{count} structures on {n} points", "at least one structure and one point")
    expected: dict[str, tuple[NDArray[Any], type, tuple[int, ...]]] = {
        "axis.values": (content.axis.values, np.float64, (n,)),
        "base": (content.base, np.float32, (count, n)),
        "offsets": (content.offsets, np.int64, (count + 1,)),
        "patterns": (content.patterns, np.float32, (rows, n)),
        "variants": (content.variants, np.int64, (rows,)),
        **{f"parameters[{k!r}]": (v, np.float64, (rows,)) for k, (_, v) in content.parameters.items()},
    }
    for what, (values, dtype, shape) in expected.items():
        if values.dtype != dtype or values.shape != shape:
            found = f"{values.dtype} of shape {values.shape}"
            raise _refuse(what, found, f"{np.dtype(dtype)} of shape {shape}")
    if len(content.content_hashes) != count:
        raise _refuse("content_hashes", f"{len(content.content_hashes)} long", f"{count} long, as structure_ids")
    if content.offsets[0] != 0 or content.offsets[-1] != rows or (np.diff(content.offsets) < 0).any():
        raise _refuse("offsets", content.offsets.tolist(), f"ascending from 0 to {rows}")
    if not np.isfinite(content.axis.values).all():
        raise _refuse("axis.values", "not finite", "finite")
