"""The way into archives: whatever their form, an index of frames, and frames by slices."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from hpc_mlsm.archive.archive_settings import ArchiveSettings
from hpc_mlsm.archive.containers import is_container
from hpc_mlsm.archive.folders import find_patterns
from hpc_mlsm.archive.frames import ArchiveIndex, ArchiveKind, FrameBlock
from hpc_mlsm.archive.stack import is_stack
from hpc_mlsm.archive.stack_archive import index_stack, read_stack, stack_hash
from hpc_mlsm.archive.text_archive import index_text, read_text, suffixes_of
from hpc_mlsm.errors import PatternError

FEW_FILES = 200
"""So many files are answered one by one, with figures of each; more are an archive."""


def open_archive(
    addresses: Sequence[str | Path],
    settings: ArchiveSettings | None = None,
    *,
    assumed: ArchiveKind | None = None,
    one_by_one: bool = False,
) -> ArchiveIndex:
    """The index of an archive.

    Parameters
    ----------
    addresses
        One zip file, tar file, or HDF5 stack (``file.h5::/entry/data``), or any number of folders and text files.
    settings
        What the user knows of it.
    assumed
        Kind to take where the files do not say theirs; None refuses these.
    one_by_one
        Whether files were named to be looked at one by one, so that they may differ in their units.

    Raises
    ------
    PatternError
        Where nothing can be read, or what is there cannot be told; see ``index_text`` and ``index_stack``.
    """
    settings = settings or ArchiveSettings()
    stacks = [address for address in map(str, addresses) if is_stack(address)]
    if not stacks:
        return index_text([Path(address) for address in addresses], settings, assumed, one_by_one=one_by_one)
    if len(addresses) > 1:
        raise PatternError(
            "ambiguous",
            f"{stacks[0]}: a stack is an archive by itself, {len(addresses)} were named; give them one after the other",
        )
    return index_stack(stacks[0], settings, assumed)


def is_archive(addresses: Sequence[str | Path], kind: ArchiveKind) -> bool:
    """Whether this is more than a few files to be looked at one by one: a stack, a zip or tar file, or many files."""
    if any(is_stack(str(address)) or is_container(Path(address)) for address in addresses):
        return True
    try:
        return len(find_patterns([Path(address) for address in addresses], suffixes_of(kind))) > FEW_FILES
    except PatternError:
        return False  # told by whoever reads them


def read_frames(index: ArchiveIndex, start: int, stop: int) -> FrameBlock:
    """Frames ``start`` to ``stop`` of an archive; opens what it needs, and closes it.

    Raises
    ------
    PatternError
        If the archive as such cannot be read any more; frames that cannot are among the block's rejects.
    """
    if index.form == "stack":
        return read_stack(index, start, stop)
    return read_text(index, range(start, min(stop, index.n_frames)))


def frame_hash(index: ArchiveIndex) -> Callable[[int, int], str]:
    """What tells whether frames of an archive are still the same, without reading all of them.

    For text files their names, sizes and times; for stacks the abscissa, and the first, the middle and the last of the
    frames.
    """
    if index.form == "stack":
        return stack_hash(index)

    def of_files(start: int, stop: int) -> str:
        whole = hashlib.blake2b("\0".join(index.members[start:stop]).encode("utf-8", "surrogateescape"), digest_size=16)
        whole.update(index.places[start:stop].tobytes())
        return whole.hexdigest()

    return of_files
