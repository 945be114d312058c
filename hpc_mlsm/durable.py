"""Files that are either whole or not there: written under a temporary name, synchronised, renamed."""

import errno
import os
import re
import secrets
import shutil
import socket
import time
from contextlib import suppress
from pathlib import Path

from hpc_mlsm.errors import StoreError

STALE_AFTER_S = 3600.0
"""A partial file of another machine that has not been touched for this long has no writer any more."""

_PART = re.compile(r"\..+\.(?P<host>[^~]*)~(?P<pid>\d+)~[0-9a-f]+\.part")
_REMEDIES = {
    errno.ENOSPC: "free some space, or put the run directory on a larger disk, then run again",
    errno.EDQUOT: "free some of your quota, or put the run directory elsewhere, then run again",
    errno.EROFS: "put the run directory on a file system that can be written to",
    errno.EACCES: "make the folder writable, or put the run directory elsewhere",
    errno.ENOENT: "see that the folder exists and that no other process clears it, then run again",
}


def write_durably(path: Path, image: bytes | memoryview) -> None:
    """Write a file so that it appears under its name only when all of it is on the disk.

    Any failure, an interrupt too, leaves neither the file nor a partial one behind.

    Raises
    ------
    StoreError
        If the file cannot be written; names the path, the space needed and free, and the remedy.
    """
    part = path.with_name(f".{path.name}.{socket.gethostname()}~{os.getpid()}~{secrets.token_hex(4)}.part")
    try:
        try:
            with part.open("xb", buffering=0) as stream:
                view = memoryview(image)
                while view:
                    view = view[stream.write(view) :]
                os.fsync(stream.fileno())
            part.rename(path)
            sync_folder(path.parent)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(path, error, len(image)) from error


def write_error(path: Path, error: OSError, needed: int) -> StoreError:
    """The error to raise when ``needed`` bytes could not be written to ``path``."""
    try:
        free = f"{shutil.disk_usage(path.parent).free:,} bytes are free there"
    except OSError:
        free = "how much is free there cannot be told"
    remedy = _REMEDIES.get(error.errno or 0, "see what is wrong with that file system, then run again")
    reason = error.strerror or str(error)
    return StoreError(f"{path} cannot be written: {reason}. {needed:,} bytes are needed, {free}; {remedy}.")


def sync_folder(folder: Path) -> None:
    """Make names that were added to a folder survive a power cut, where its file system can promise that."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems synchronise no folders
            raise
    finally:
        os.close(handle)


def is_stale_part(path: Path) -> bool:
    """Whether a file is a partial one that nobody writes any more: its process is gone, or it is long untouched."""
    match = _PART.fullmatch(path.name)
    if match is None:
        return False
    if match["host"] == socket.gethostname() and not _is_running(int(match["pid"])):
        return True
    try:
        return time.time() - path.stat().st_mtime > STALE_AFTER_S
    except FileNotFoundError:
        return False


def remove_stale_parts(folder: Path) -> None:
    """Remove partial files below a folder that killed processes left."""
    for path in folder.rglob(".*.part"):
        if is_stale_part(path):
            with suppress(OSError):  # what is left over does no harm
                path.unlink()


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
