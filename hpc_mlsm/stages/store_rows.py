"""Patterns of a store as a network reads them: by shard and row, when they are needed."""

from collections import OrderedDict
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import StoreError
from hpc_mlsm.models.cnn_input import scale_patterns
from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.store.reading import ShardReader, rows_of

OPEN_SHARDS = 32


class StoreRows:
    """Some rows of a pattern store, with what is to be learnt from them; ``models.cnn_rows.PatternRows``.

    Shards are opened when they are first read, and are checked against the index then; at most ``OPEN_SHARDS`` stay
    open. What is in memory is the table of rows, not the patterns.

    Parameters
    ----------
    store
        Is asked here only, and may be closed afterwards.
    targets
        Of each structure, in the order of ``store.ids()``: ``class`` (structures,), and for other heads
        ``space_group`` (structures,), from 0, and ``cell`` (structures, 6).
    chosen
        Which variants are taken, (structures, variants); or (structures,) for all variants of some structures.
    scale
        As in ``CnnSettings``.
    """

    def __init__(
        self,
        store: PatternStore,
        targets: dict[str, NDArray],
        chosen: NDArray[np.bool_],
        scale: Literal["linear", "sqrt"],
    ) -> None:
        self._order, self._scale = store.ids(), scale
        self.two_theta = store.axis().values
        self.n_points = len(self.two_theta)
        for name, values in {**targets, "chosen": chosen}.items():
            if len(values) != len(self._order):
                raise StoreError(
                    f"{name} is given for {len(values)} structures, but the store has {len(self._order)}: "
                    "run simulate again"
                )
        self._live: list[tuple[Path, NDArray[np.void]]] = store.live_shards(self._order)
        self._open: OrderedDict[int, ShardReader] = OrderedDict()
        shards, rows, structures = [], [], []
        for number, (path, live) in enumerate(self._live):
            own, structure = rows_of(live), np.repeat(live["structure"], live["n_rows"])
            if chosen.ndim == 1:
                kept = chosen[structure]
            else:
                with ShardReader(path, live, self._order) as reader:
                    kept = chosen[structure, reader.variants()[own]]
            shards.append(np.full(int(kept.sum()), number))
            rows.append(own[kept])
            structures.append(structure[kept])
        nothing = [np.empty(0, dtype=np.int64)]
        self.shards: NDArray[np.int64] = np.concatenate(nothing + shards)
        self.rows: NDArray[np.int64] = np.concatenate(nothing + rows)
        self.structures: NDArray[np.int64] = np.concatenate(nothing + structures)
        ascending = np.lexsort((self.rows, self.shards))
        self.shards, self.rows = self.shards[ascending], self.rows[ascending]
        self.structures = self.structures[ascending]
        self.targets = {name: values[self.structures] for name, values in targets.items()}

    def read(self, shard: int, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Patterns (rows, n_points), scaled for the network, of ascending rows of one shard.

        Raises
        ------
        StoreError
            If the shard is damaged, missing, or not the one that the index lists.
        """
        return scale_patterns(self._reader(shard).patterns(rows), self._scale)

    def close(self) -> None:
        """Close the files."""
        while self._open:
            self._open.popitem()[1].close()

    def _reader(self, shard: int) -> ShardReader:
        reader = self._open.pop(shard, None)
        if reader is None:
            path, live = self._live[shard]
            reader = ShardReader(path, live, self._order)
            if len(self._open) >= OPEN_SHARDS:
                self._open.popitem(last=False)[1].close()
        self._open[shard] = reader
        return reader
