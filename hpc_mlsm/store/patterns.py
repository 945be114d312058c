"""The pattern store: all patterns of one kind that a run has simulated."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.durable import write_error
from hpc_mlsm.errors import StoreError
from hpc_mlsm.store import upkeep
from hpc_mlsm.store.index import INDEX_NAME, Index, Mode
from hpc_mlsm.store.reading import LIVE, ShardReader, rows_of
from hpc_mlsm.store.schema import Axis, ShardRecord
from hpc_mlsm.store.shard import REDO
from hpc_mlsm.store.upkeep import AdoptReport, VerifyReport


@dataclass(frozen=True, eq=False)
class Batch:
    """Some rows of the store.

    ``structure_index`` (rows,) counts in the ids that were asked for, or in ``PatternStore.ids()``; ``variant``
    (rows,) counts within the structure; ``patterns`` is (rows, n); ``parameters`` holds arrays (rows,) by name.
    """

    structure_index: NDArray[np.int64]
    variant: NDArray[np.int64]
    patterns: NDArray[np.float32]
    parameters: dict[str, NDArray[np.float64]]


class PatternStore:
    """A folder of shards and the index that says which of their rows count.

    One process at a time should write; others may read meanwhile. A store belongs to the thread that opened it, and
    is not sent to other processes: send them its folder.
    """

    def __init__(self, folder: Path, index: Index) -> None:
        self.folder = folder
        self._index = index

    @classmethod
    def open(cls, folder: Path, mode: Mode) -> Self:
        """Open the store in a folder, for reading (``"r"``) or changing (``"a"``, which makes it where it is not).

        Raises
        ------
        StoreError
            If there is no store to read, it is of another schema version, or the folder cannot be used.
        """
        if mode == "a":
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise write_error(folder, error, 0) from error
        elif not (folder / INDEX_NAME).exists():
            raise StoreError(f"there is no pattern store in {folder}: run simulate first")
        store = cls(folder, Index(folder / INDEX_NAME, mode))
        if mode == "a":
            try:
                upkeep.bury(folder, store._index)
            except StoreError:
                store.close()
                raise
        return store

    def close(self) -> None:
        """Close the store."""
        self._index.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def record(self, record: ShardRecord) -> None:
        """Make a finished shard part of the store, all of it or nothing.

        Its structures replace those of the same id in other shards. Recording a shard twice changes nothing.

        Raises
        ------
        StoreError
            If the file is not there in the recorded size, or the index cannot be written.
        """
        path = self.folder / record.name
        found = path.stat().st_size if path.exists() else 0
        if found != record.size:
            raise StoreError(
                f"{path} has {found:,} bytes, but {record.size:,} were written: it was removed or cut, or this "
                "machine does not see the other's files yet; run simulate again"
            )
        self._index.record(record)

    def adopt(self, config_hash: str) -> AdoptReport:
        """Take over finished shards that are on the disk but not in the index, as after a kill.

        Shards are checked whole before they are believed. Those of another configuration, those that add nothing,
        and partial files that nobody writes any more are deleted; files that are named like shards but are damaged or
        foreign are renamed to ``….bad``.
        """
        return upkeep.adopt(self.folder, self._index, config_hash)

    def verify(self, full: bool) -> VerifyReport:
        """Compare every shard with the index: that it exists and its size, and with ``full`` its checksum too.

        Bad shards leave the index, so that their structures are missing and are redone, and are renamed to
        ``….bad``; a store opened for reading is left as it is.

        Raises
        ------
        StoreError
            If a shard is there but its disk refuses to read it, or the index itself is damaged.
        """
        return upkeep.verify(self.folder, self._index, full)

    def missing(self, wanted: Sequence[tuple[str, str]], config_hash: str) -> list[str]:
        """Those ids of the wanted (id, content hash) that are not in the store under this configuration, in order."""
        return upkeep.missing(self._index, wanted, config_hash)

    def drop(self, wanted: Sequence[tuple[str, str]], config_hash: str) -> int:
        """Remove structures that are not among the wanted (id, content hash) or are of another configuration.

        Readers no longer see them; shards of which nothing is left are deleted. Returns how many were removed.
        """
        return upkeep.drop(self.folder, self._index, wanted, config_hash)

    def compact(self, tolerated: float = 0.0) -> int:
        """Rewrite shards that hold structures that readers no longer see, to free their space; returns how many.

        Shards in which a share of at most ``tolerated`` is not seen stay as they are: rewriting costs as much as the
        whole shard, and one that loses a structure may soon lose another.
        """
        return upkeep.compact(self.folder, self._index, tolerated)

    @property
    def n_structures(self) -> int:
        """Number of structures."""
        return self._index.value("SELECT count(*) FROM structures")

    @property
    def n_rows(self) -> int:
        """Number of variant patterns, of all structures together."""
        return self._index.value("SELECT coalesce(sum(n_rows), 0) FROM structures")

    def ids(self) -> list[str]:
        """Ids of all structures, sorted."""
        return [row[0] for row in self._index.rows("SELECT id FROM structures ORDER BY id")]

    def fingerprint(self) -> str:
        """Hash over all that readers see: ids, content and configuration hashes, and the patterns' digests.

        It does not depend on how the structures are spread over shards, nor on the order in which they came.
        """
        configured = dict(self._index.rows("SELECT name, config_hash FROM shards"))
        whole = hashlib.blake2b(digest_size=16)
        query = "SELECT id, content_hash, shard, digest FROM structures ORDER BY id"
        for identifier, content_hash, shard, digest in self._index.rows(query):
            whole.update(repr((identifier, content_hash, configured[shard], digest)).encode())
        return whole.hexdigest()

    def axis(self) -> Axis:
        """The grid of the patterns."""
        self._require_one_configuration()
        for row in self._index.rows("SELECT * FROM structures LIMIT 1"):
            self._index.require_seal(row)
            with ShardReader(self.folder / row[6], np.empty(0, dtype=LIVE), []) as shard:
                return shard.axis()
        raise StoreError(f"the pattern store in {self.folder} is empty: run simulate first")

    def contents(self) -> dict[str, str]:
        """Content hash of every structure by id; ordered by id."""
        return dict(self._index.rows("SELECT id, content_hash FROM structures ORDER BY id"))

    def digests(self) -> dict[str, str]:
        """Hash over everything of a structure, its patterns among it, by id; ordered by id."""
        return dict(self._index.rows("SELECT id, digest FROM structures ORDER BY id"))

    def iter_base(self, ids: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Base patterns of some structures, shard by shard: which of the ids, and their patterns (rows, n).

        Each shard is opened once; nothing but the patterns of one shard is held.

        Raises
        ------
        StoreError
            If an id is unknown or a shard is damaged.
        """
        order = list(ids)
        live = self.live_shards(order)
        self._require_all(order, live)
        n_points = len(self.axis().values) if order else 0
        for path, part in live:
            with ShardReader(path, part, order) as shard:
                yield part["structure"], _fitting(shard.base(part["position"]), n_points, path)

    def base_rows(self, start: int, stop: int) -> NDArray[np.float32]:
        """Base patterns of ``ids()[start:stop]``, shape (stop - start, n); opens each shard concerned once.

        Raises
        ------
        StoreError
            If the range goes beyond the store or a shard is damaged.
        """
        n_points = len(self.axis().values)
        if not 0 <= start <= stop <= self.n_structures:
            raise StoreError(
                f"base patterns {start}:{stop} were asked for, but the store has {self.n_structures} structures"
            )
        chosen = f"SELECT * FROM structures ORDER BY id LIMIT {stop - start} OFFSET {start}"
        order = [row[0] for row in self._index.rows(chosen)]
        live = self._live(f"SELECT * FROM ({chosen}) ORDER BY shard, position", order)
        self._require_all(order, live)
        values = np.empty((len(order), n_points), dtype=np.float32)
        for path, part in live:
            with ShardReader(path, part, order) as shard:
                values[part["structure"]] = _fitting(shard.base(part["position"]), n_points, path)
        return values

    def iter_batches(self, max_rows: int, ids: Sequence[str] | None = None) -> Iterator[Batch]:
        """Stream the patterns, of some structures or of all, in batches of at most ``max_rows`` rows.

        The order is that of the shards' names and the rows in them; a batch never spans two shards. What is streamed
        is settled at the first batch: structures that are recorded later are not seen. While another process may be
        writing, pass ``ids``, since ``ids()`` asked for separately may already be another list.

        Raises
        ------
        StoreError
            If an id is unknown or a shard is damaged.
        """
        if max_rows < 1:
            raise StoreError(f"batches of {max_rows} rows were asked for; at least 1 is needed")
        n_points = len(self.axis().values)
        order = self.ids() if ids is None else list(ids)
        live = self.live_shards(order)
        if ids is not None:
            self._require_all(order, live)
        for path, part in live:
            with ShardReader(path, part, order) as shard:
                rows, structures = rows_of(part), np.repeat(part["structure"], part["n_rows"])
                variants, parameters = shard.variants(), shard.parameters()
                for start in range(0, len(rows), max_rows):
                    chosen = rows[start : start + max_rows]
                    yield Batch(
                        structure_index=structures[start : start + max_rows],
                        variant=variants[chosen],
                        patterns=_fitting(shard.patterns(chosen), n_points, path),
                        parameters={name: values[chosen] for name, values in parameters.items()},
                    )

    def patterns_of(self, identifier: str) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float64]]]:
        """Patterns (rows, n) and variant parameters (rows,) of one structure.

        Raises
        ------
        StoreError
            If the id is unknown or its shard is damaged.
        """
        live = self._live("SELECT * FROM structures WHERE id = ?", [identifier], identifier)
        self._require_all([identifier], live)
        ((path, part),) = live
        with ShardReader(path, part, [identifier]) as shard:
            rows = rows_of(part)
            return shard.patterns(rows), {name: values[rows] for name, values in shard.parameters().items()}

    def live_shards(self, order: Sequence[str]) -> list[tuple[Path, NDArray[np.void]]]:
        """The shards by name, each with its structures among ``order`` (dtype ``LIVE``, numbered as in it)."""
        self._require_one_configuration()
        return self._live("SELECT * FROM structures ORDER BY shard, position", order)

    def _live(self, query: str, order: Sequence[str], *values: object) -> list[tuple[Path, NDArray[np.void]]]:
        """Rows of ``structures`` that a query gives, ordered by shard, if their ids are in ``order``."""
        number = {identifier: k for k, identifier in enumerate(order)}
        shards: dict[str, int] = {}

        def entries() -> Iterator[tuple]:
            for row in self._index.rows(query, *values):
                self._index.require_seal(row)
                identifier, _, first_row, n_rows, position, digest, shard, _ = row
                if identifier in number:
                    place = shards.setdefault(shard, len(shards))
                    yield place, number[identifier], position, first_row, n_rows, digest.encode()

        table: NDArray[np.void] = np.fromiter(entries(), dtype=LIVE)
        parts = np.split(table, np.flatnonzero(np.diff(table["shard"])) + 1)
        return [(self.folder / name, part) for name, part in zip(shards, parts, strict=False)]

    def _require_one_configuration(self) -> None:
        hashes = self._index.config_hashes()
        if len(hashes) > 1:
            raise StoreError(
                f"the pattern store in {self.folder} holds patterns of {len(hashes)} configurations "
                f"({', '.join(map(str, hashes))}): let simulate finish, it drops all but the current one"
            )

    def _require_all(self, wanted: list[str], live: list[tuple[Path, NDArray[np.void]]]) -> None:
        found = {int(k) for _, part in live for k in part["structure"]}
        absent = [identifier for k, identifier in enumerate(wanted) if k not in found]
        if absent:
            raise StoreError(
                f"{len(absent)} of {len(wanted)} structures are not in the pattern store in {self.folder}, or asked "
                f"for twice ({', '.join(map(str, absent[:5]))}): run simulate again"
            )


def _fitting(values: NDArray[np.float32], n_points: int, path: Path) -> NDArray[np.float32]:
    if values.shape[1] != n_points:
        raise StoreError(f"{path} has {values.shape[1]} points a pattern, but the others have {n_points}: {REDO}")
    return values
