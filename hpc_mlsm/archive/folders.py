"""The search for measured patterns in folders."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from hpc_mlsm.errors import PatternError

SUFFIXES = frozenset({".gr", ".dat", ".txt", ".xy", ".xye", ".csv"})
"""Files with these suffixes are taken from a folder; a file that is named itself may have any."""


def find_patterns(paths: Sequence[Path | str], suffixes: frozenset[str] = SUFFIXES) -> list[Path]:
    """Pattern files among files and folders.

    Folders are searched with all their subfolders for files with one of ``suffixes``, hidden ones left out, and
    sorted naturally (``s2.gr`` before ``s10.gr``); files that are named themselves are taken as they are. The
    order of ``paths`` is kept, and no file comes twice.

    Raises
    ------
    PatternError
        "missing" for a path that does not exist, "unreadable" for a folder that cannot be listed,
        "empty_folder" for a folder without pattern files, and for an empty list.
    """
    if not paths:
        raise PatternError("empty_folder", "no files or folders of measured patterns were given; name one")
    found: dict[str, Path] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise PatternError("missing", f"{path}: there is no such file or folder; check the path")
        for file in _files_in(path, suffixes) if path.is_dir() else [path]:
            found.setdefault(os.path.realpath(file), file)
    return list(found.values())


def _files_in(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    files: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [
            Path(parent, name) for name in names if not name.startswith(".") and Path(name).suffix.lower() in suffixes
        ]
    if not files:
        raise PatternError(
            "empty_folder",
            f"{folder}: no measured patterns in this folder or below it; files ending in "
            f"{', '.join(sorted(suffixes))} were looked for",
        )
    return sorted(files, key=natural_key)


def _refuse(error: OSError) -> None:
    detail = f"{error.filename}: the folder cannot be listed ({error.strerror}); check its permissions"
    raise PatternError("unreadable", detail) from error


def natural_key(path: Path | str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key in which numbers count as numbers; the plain path decides where that ties."""
    parts = re.split(r"([0-9]+)", str(path).lower())
    key = [(1, int(part), "") if i % 2 else (0, 0, part) for i, part in enumerate(parts) if part]
    return key, str(path)
