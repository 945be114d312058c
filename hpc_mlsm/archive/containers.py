"""Text files of an archive, wherever they lie: in folders, in a zip file or in a tar file. Nothing is unpacked."""

import os
import re
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.folders import SUFFIXES, find_patterns, natural_key
from hpc_mlsm.archive.frames import ArchiveIndex, Form
from hpc_mlsm.archive.readers import MAX_BYTES, bytes_of
from hpc_mlsm.errors import PatternError

HEADER_BYTES = 64 * 1024
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

Listing = tuple[Form, tuple[str, ...], NDArray[np.int64]]
"""Form, members by natural order, and the places of ``ArchiveIndex``."""


class Contents(Protocol):
    """Bytes of members by their number."""

    def __call__(self, frame: int, at_most: int = -1) -> bytes:
        """Content of a member, or its beginning."""


def is_container(path: Path) -> bool:
    """Whether a path is a zip or tar file by its name."""
    return path.suffix.lower() == ".zip" or path.name.lower().endswith(TAR_SUFFIXES)


def list_members(paths: Sequence[Path], suffixes: frozenset[str] = SUFFIXES) -> Listing:
    """The text files of folders and files, or those in one zip or tar file.

    Raises
    ------
    PatternError
        As ``find_patterns``; "truncated" or "damaged" for a container that cannot be listed, "empty_folder" for one
        without text patterns.
    """
    if any(map(is_container, paths)):
        return _of_container(paths, suffixes)
    files = find_patterns(paths, suffixes)
    states = [os.stat(file) for file in files]
    places = np.array([(0, state.st_size, state.st_mtime_ns) for state in states], dtype=np.int64)
    return "files", tuple(map(str, files)), places.reshape(-1, 3)


def _of_container(paths: Sequence[Path], suffixes: frozenset[str]) -> Listing:
    path = next(filter(is_container, paths))
    if len(paths) > 1:
        raise PatternError(
            "ambiguous",
            f"{path}: a zip or tar file is an archive by itself, {len(paths)} were named; give them one by one",
        )
    if not path.is_file():
        raise PatternError("missing", f"{path}: there is no such file; check the path")
    if path.suffix.lower() == ".zip":
        return "zip", *_sorted(_zip_members(path), path, suffixes)
    return "tar", *_sorted(_tar_members(path), path, suffixes)


@contextmanager
def contents(index: ArchiveIndex) -> Iterator[Contents]:
    """The bytes of an archive's members.

    The function that is yielded raises a PatternError for a member that cannot be read: "missing", "unreadable",
    "too_large" or "damaged".
    """
    if index.form == "files":
        yield lambda frame, at_most=-1: _file_bytes(Path(index.members[frame]), at_most)
        return
    path = Path(index.source)
    try:
        opened: IO[bytes] = path.open("rb")
    except OSError as error:
        raise PatternError("unreadable", f"{path}: cannot be read ({error.strerror}); check the path") from error
    with opened as stream:
        if index.form == "zip":
            with zipfile.ZipFile(stream) as archive:
                yield lambda frame, at_most=-1: _zip_bytes(archive, index, frame, at_most)
        else:
            with tarfile.open(fileobj=stream) as archive:
                yield lambda frame, at_most=-1: _tar_bytes(archive, index, frame, at_most)


def _file_bytes(path: Path, at_most: int) -> bytes:
    if at_most < 0:
        return bytes_of(path)
    try:
        with path.open("rb") as stream:
            return stream.read(at_most)
    except OSError as error:
        raise PatternError("unreadable", f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def _zip_bytes(archive: zipfile.ZipFile, index: ArchiveIndex, frame: int, at_most: int) -> bytes:
    name = index.members[frame]
    _refuse_large(index, frame)
    try:
        with archive.open(name) as stream:
            return stream.read(at_most)
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError, KeyError) as error:
        detail = f"{index.source}, {name}: cannot be read from the zip file ({error}); make it again"
        raise PatternError("damaged", detail) from error


def _tar_bytes(archive: tarfile.TarFile, index: ArchiveIndex, frame: int, at_most: int) -> bytes:
    start, size, _ = (int(value) for value in index.places[frame])
    _refuse_large(index, frame)
    stream = archive.fileobj
    assert stream is not None
    wanted = size if at_most < 0 else min(size, at_most)
    try:
        stream.seek(start)
        content = stream.read(wanted)
    except (OSError, EOFError, ValueError) as error:
        detail = f"{index.source}, {index.members[frame]}: cannot be read from the tar file ({error}); make it again"
        raise PatternError("damaged", detail) from error
    if len(content) < wanted:
        raise PatternError(
            "truncated",
            f"{index.source}, {index.members[frame]}: the tar file ends after {len(content)} of its {size} bytes; copy "
            "it again",
        )
    return content


def _refuse_large(index: ArchiveIndex, frame: int) -> None:
    size = int(index.places[frame, 1])
    if size > MAX_BYTES:
        raise PatternError(
            "too_large",
            f"{index.source}, {index.members[frame]}: {size / 2**20:.0f} MiB, and one pattern in text can have "
            f"{MAX_BYTES / 2**20:.0f} MiB at most; split it into one file a pattern",
        )


def _zip_members(path: Path) -> list[tuple[str, int, int]]:
    try:
        with zipfile.ZipFile(path) as archive:
            return [(one.filename, 0, one.file_size) for one in archive.infolist() if not one.is_dir()]
    except (zipfile.BadZipFile, OSError) as error:
        raise PatternError("damaged", f"{path}: is no whole zip file ({error}); copy it again") from error


def _tar_members(path: Path) -> list[tuple[str, int, int]]:
    try:
        with tarfile.open(path) as archive:
            return [(one.name, one.offset_data, one.size) for one in archive if one.isfile()]
    except (tarfile.TarError, OSError, EOFError) as error:
        raise PatternError("damaged", f"{path}: is no whole tar file ({error}); copy it again") from error


def _sorted(
    found: list[tuple[str, int, int]], path: Path, suffixes: frozenset[str]
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    wanted = [
        one
        for one in found
        if PurePosixPath(one[0]).suffix.lower() in suffixes and not re.search(r"(?:^|/)\.|__MACOSX/", one[0])
    ]
    if not wanted:
        raise PatternError(
            "empty_folder",
            f"{path}: no measured patterns among its {len(found)} files; files ending in {', '.join(sorted(suffixes))} "
            "were looked for",
        )
    wanted.sort(key=lambda one: natural_key(one[0]))
    written = path.stat().st_mtime_ns
    places = np.array([(start, size, written) for _, start, size in wanted], dtype=np.int64)
    return tuple(name for name, _, _ in wanted), places
