"""File systems: how fast, how full, of which kind, and whether several nodes see the same."""

import os
import shutil
import tempfile
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from hpc_mlsm.runtime.probes.finding import Finding

WRITE_BYTES = 32 * 2**20
WRITE_LIMIT_S = 10.0
SLOW_MB_S = 20.0
LEAST_FREE = 1e9
LITTLE_FREE = 20e9
LEAST_FILES = 10_000

NETWORK = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.sshfs", "gpfs", "lustre", "nfs"}
    | {"nfs4", "panfs", "pvfs2", "smb3", "smbfs", "virtiofs", "wekafs"}
)
MEMORY = frozenset({"ramfs", "tmpfs"})


@dataclass(frozen=True)
class FileSystem:
    """Where a folder lies: kind, mount point, free bytes and files (None where it does not count them)."""

    kind: str
    mount: str
    free: int
    free_files: int | None


def file_system(folder: Path) -> FileSystem:
    """Of the file system that a folder lies on."""
    place = folder.resolve()
    mounts = [part for part in psutil.disk_partitions(all=True) if place.is_relative_to(part.mountpoint)]
    # Of several mounts on one place the last is the one that is seen.
    best = max(enumerate(mounts), key=lambda one: (len(one[1].mountpoint), one[0]), default=(0, None))[1]
    count = os.statvfs(place)
    return FileSystem(
        best.fstype if best else "unknown",
        best.mountpoint if best else "/",
        shutil.disk_usage(place).free,
        count.f_favail if count.f_files else None,
    )


def write_speed(folder: Path, n_bytes: int = WRITE_BYTES) -> float:
    """Bytes a second of writing one file and syncing it to the disk; the file is removed.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    block = os.urandom(4 * 2**20)
    path = folder / f".speed-{uuid.uuid4().hex}"
    written, start = 0, time.perf_counter()
    try:
        with path.open("wb", buffering=0) as file:
            while written < n_bytes and time.perf_counter() - start < WRITE_LIMIT_S:
                written += file.write(block)
            os.fsync(file.fileno())
        return written / max(time.perf_counter() - start, 1e-9)
    finally:
        path.unlink(missing_ok=True)


def check_folder(check: str, where: str, folder: Path) -> list[Finding]:
    """Space and speed of a folder that holds a run."""
    found = file_system(folder)
    return [_space(check, where, found), _speed(check, where, folder)]


def check_scratch(where: str, scratch: str, run: Path) -> list[Finding]:
    """A node's own scratch folder: there or made, writable, fast, and on a disk of the node; what was made goes."""
    folder = Path(scratch)
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        words = f"{folder} cannot be made: {error.strerror or error}"
        return [Finding("scratch", where, "failure", words, "set scratch: to a folder that you may make on every node")]
    try:
        with tempfile.TemporaryDirectory(prefix="hpc_mlsm-doctor-", dir=folder) as own:
            found = file_system(folder)
            check, inside = "scratch", Path(own)
            return [_space(check, where, found), _speed(check, where, inside), _local(where, inside, found, run)]
    except OSError as error:
        words = f"{folder} cannot be written: {error.strerror or error}"
        return [
            Finding("scratch", where, "failure", words, "set scratch: to a folder that you may write on every node")
        ]
    finally:
        if made:
            with suppress(OSError):
                folder.rmdir()


def _local(where: str, folder: Path, found: FileSystem, run: Path) -> Finding:
    check, figure = "scratch: local", f"{found.kind} at {found.mount}"
    if found.kind in NETWORK:
        remedy = "set scratch: to a disk of the node, such as $TMPDIR or /tmp; the network would be in the way"
        return Finding(check, where, "warning", f"{figure}, a file system of the network", remedy)
    if found.kind in MEMORY:
        remedy = "ask for so much more memory:, or set scratch: to a disk"
        return Finding(check, where, "warning", f"{figure}, in memory, which counts as the job's", remedy)
    if run.exists() and run.stat().st_dev == folder.stat().st_dev:
        figure += ", where the run is as well"
    return Finding(check, where, "ok", figure)


def _space(check: str, where: str, found: FileSystem) -> Finding:
    files = "" if found.free_files is None else f", {found.free_files / 1e6:.3g} million files"
    figure = f"{found.free / 1e9:.1f} GB{files} free ({found.kind} at {found.mount})"
    remedy = "free some, or use a folder on another disk"
    if found.free < LEAST_FREE or (found.free_files is not None and found.free_files < LEAST_FILES):
        return Finding(f"{check}: space", where, "failure", figure, remedy)
    return Finding(
        f"{check}: space", where, *(("warning", figure, remedy) if found.free < LITTLE_FREE else ("ok", figure))
    )


def _speed(check: str, where: str, folder: Path) -> Finding:
    check = f"{check}: speed"
    try:
        speed = write_speed(folder) / 1e6
    except OSError as error:
        return Finding(check, where, "failure", f"{folder}: {error.strerror or error}", "make it writable, with space")
    figure = f"{speed:.0f} MB/s written and synced"
    if speed < SLOW_MB_S:
        return Finding(
            check, where, "warning", figure, "shards may wait for the disk: use a faster one, or fewer workers"
        )
    return Finding(check, where, "ok", figure)
