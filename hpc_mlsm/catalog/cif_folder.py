"""CIFs in a folder: which there are, and the ids their structures get."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hpc_mlsm.errors import CatalogueError

_SUFFIX = re.compile(r"\.cif(\.gz)?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CifFile:
    """A CIF found in a folder.

    ``name`` is its path inside the folder, with forward slashes, by which the catalogue knows it; ``id`` is the
    name without its suffix. ``duplicate_of`` names the file that has the id already (``Ni.cif`` beside
    ``Ni.cif.gz``). Size (bytes) and modification time (ns) are -1 for a file that cannot be looked at.
    """

    path: str
    name: str
    id: str
    size: int
    mtime_ns: int
    duplicate_of: str | None = None


def scan_folder(folder: Path | str) -> list[CifFile]:
    """All CIFs (``*.cif``, ``*.cif.gz``, in any case) in a folder and its subfolders, ordered by name.

    Links are followed, each folder is visited once, hidden files and folders are passed over.

    Raises
    ------
    CatalogueError
        If the folder or a subfolder cannot be read, or holds no CIF.
    """
    folder = Path(folder)
    if not folder.is_dir():
        kind = "is not a folder" if folder.exists() else "does not exist"
        raise CatalogueError(f"{folder} {kind}; give a folder that holds CIFs (*.cif, *.cif.gz), in subfolders or not")
    try:
        found = sorted(_walk(folder, "", set()), key=lambda file: file.name)
    except OSError as error:
        raise CatalogueError(
            f"folder {error.filename} cannot be read: {error.strerror}; make it readable, or take it out of {folder}"
        ) from error
    if not found:
        raise CatalogueError(f"{folder} holds no CIFs: looked for *.cif and *.cif.gz in it and all its subfolders")
    return _with_duplicates(found)


def _walk(folder: Path, prefix: str, visited: set[tuple[int, int]]) -> Iterator[CifFile]:
    status = folder.stat()
    if (status.st_dev, status.st_ino) in visited:
        return
    visited.add((status.st_dev, status.st_ino))
    with os.scandir(folder) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", visited)
        elif _SUFFIX.search(entry.name):
            yield _found(entry, prefix + entry.name)


def _found(entry: os.DirEntry[str], name: str) -> CifFile:
    # Names that are not UTF-8 are legal on disk but not in the catalogue.
    name = os.fsencode(name).decode("utf-8", "backslashreplace")
    try:
        status = entry.stat()
        size, mtime_ns = status.st_size, status.st_mtime_ns
    except OSError:
        # A dangling link, say: it becomes a reject when it is read.
        size, mtime_ns = -1, -1
    return CifFile(entry.path, name, _SUFFIX.sub("", name), size, mtime_ns)


def _with_duplicates(files: list[CifFile]) -> list[CifFile]:
    first: dict[str, str] = {}
    found = []
    for file in files:
        owner = first.setdefault(file.id, file.name)
        duplicate_of = None if owner == file.name else owner
        found.append(CifFile(file.path, file.name, file.id, file.size, file.mtime_ns, duplicate_of))
    return found
