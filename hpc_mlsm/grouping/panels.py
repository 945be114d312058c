"""All base patterns of a run as panels: written once, kept for updates, read by position.

Positions count through the panels in the order in which these were written. A pattern of a structure that has changed
or is gone stays in its panel, is compared in vain, and is no longer *live*; when there are too many of them the panels
are written anew.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.durable import is_stale_part, write_durably
from hpc_mlsm.errors import StoreError
from hpc_mlsm.grouping.panel_file import PanelRef, read_names, read_patterns, write_panel

PANEL_ROWS = 4096
"""Patterns of a panel; two of them are compared in a tenth of a second."""

MANIFEST = "panels.json"
FORMAT, VERSION = "hpc_mlsm panels", 1

DEAD_SHARE = 0.25
"""Of the patterns, above which the panels are written anew."""

SPARE_PANELS = 64
"""Panels more than would be needed, above which they are written anew: each update adds one at least."""

Named = Iterator[tuple[list[str], list[str], NDArray[np.float32]]]
"""Gives ids, digests and base patterns of structures, some at a time."""


@dataclass(frozen=True)
class Panels:
    """Panels, and the id and digest of each of their patterns, by position."""

    refs: tuple[PanelRef, ...]
    ids: tuple[str, ...]
    digests: tuple[str, ...]

    def live(self, wanted: Mapping[str, str]) -> NDArray[np.int64]:
        """Positions, ascending, of the wanted structures (digest by id) that are there, once each."""
        found = {
            identifier: position
            for position, (identifier, digest) in enumerate(zip(self.ids, self.digests, strict=True))
            if wanted.get(identifier) == digest
        }
        return np.sort(np.fromiter(found.values(), np.int64, len(found)))

    def wasteful(self, live: int, rows: int) -> bool:
        """Whether too many patterns are dead, or panels too small."""
        needed = -(-live // rows)
        return live < (1 - DEAD_SHARE) * len(self.ids) or len(self.refs) > needed + SPARE_PANELS


def open_panels(folder: Path) -> Panels:
    """The panels in a folder; none where there are none that can be used."""
    try:
        saved = json.loads((folder / MANIFEST).read_text())
        if (saved["format"], saved["version"]) != (FORMAT, VERSION):
            return Panels((), (), ())
        return _panels(folder, [str(name) for name in saved["panels"]])
    except (OSError, ValueError, LookupError, TypeError, StoreError):
        return Panels((), (), ())


def add_panels(folder: Path, before: Panels, batches: Iterable[tuple[list[str], list[str], NDArray[np.float32]]],
               rows: int = PANEL_ROWS) -> Panels:  # fmt: skip
    """Write patterns as further panels, and what panels there are now; files that are no part of them are removed.

    Raises
    ------
    StoreError
        If a file cannot be written.
    PatternError
        If a pattern is not finite.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder} cannot be made: {error}; choose another run directory") from error
    names = [ref.path.name for ref in before.refs]
    names += [write_panel(folder, *full) for full in _filled(batches, rows)]
    content = {"format": FORMAT, "version": VERSION, "panels": names}
    write_durably(folder / MANIFEST, json.dumps(content, indent=1).encode())
    for path in folder.iterdir():
        if (path.name.startswith("panel-") and path.name not in names) or is_stale_part(path):
            path.unlink(missing_ok=True)
    return _panels(folder, names)


class LiveRows:
    """Reads live patterns by number: ``rows(start, stop)`` gives those of ``live[start:stop]``."""

    def __init__(self, panels: Panels, live: NDArray[np.int64]) -> None:
        self._refs = panels.refs
        self._live = live

    def __call__(self, start: int, stop: int) -> NDArray[np.float32]:
        return self.some(np.arange(start, stop))

    def some(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """The patterns of these numbers, which must ascend."""
        positions = self._live[numbers]
        pieces = []
        for ref in self._refs:
            low, high = np.searchsorted(positions, (ref.first, ref.stop))
            if low < high:
                own = positions[low:high] - ref.first
                pieces.append(read_patterns(ref.path, slice(own[0], own[-1] + 1))[own - own[0]])
        return np.concatenate(pieces) if pieces else np.empty((0, 0), np.float32)


def _panels(folder: Path, names: list[str]) -> Panels:
    found = [read_names(folder / name) for name in names]
    firsts = accumulate((len(ids) for ids, _ in found), initial=0)
    refs = (
        PanelRef(folder / name, first, len(ids)) for name, first, (ids, _) in zip(names, firsts, found, strict=False)
    )
    ids = tuple(identifier for own, _ in found for identifier in own)
    return Panels(tuple(refs), ids, tuple(digest for _, own in found for digest in own))


def _filled(batches: Iterable[tuple[list[str], list[str], NDArray[np.float32]]], rows: int) -> Named:
    """The same patterns in batches of ``rows``, the last one smaller."""
    ids: list[str] = []
    digests: list[str] = []
    patterns: list[NDArray[np.float32]] = []
    for own_ids, own_digests, own in batches:
        ids, digests = ids + own_ids, digests + own_digests
        patterns.append(own)
        while len(ids) >= rows:
            joined = np.concatenate(patterns)
            yield ids[:rows], digests[:rows], joined[:rows]
            ids, digests, patterns = ids[rows:], digests[rows:], [joined[rows:]]
    if ids:
        yield ids, digests, np.concatenate(patterns)
