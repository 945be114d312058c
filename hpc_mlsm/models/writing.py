"""Files of models: whole under their name, or not there."""

import os
import shutil
from pathlib import Path

from hpc_mlsm.errors import BundleError


def replace_file(path: Path, content: bytes) -> None:
    """Write a file beside its place, synchronise it and move it there: readers see the old one or the new one, whole.

    Raises
    ------
    BundleError
        If it cannot be written; nothing of it is left behind then.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
            _sync_folder(path.parent)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise BundleError(
            f"{path} cannot be written: {error.strerror or error}; {len(content) / 1e6:.1f} MB are needed, "
            f"{_free(path.parent)}. Make room there, or choose another run directory, and run again"
        ) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _free(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free / 1e6:.1f} MB are free"
    except OSError:
        return "how much is free cannot be told"
