"""How SQLite keeps its journal: a write-ahead log needs memory that all processes share, which network disks lack."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOCAL_FILE_SYSTEMS = frozenset({"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"})


def choose_journal(db: sqlite3.Connection, folder: Path) -> None:
    """Write-ahead log, with which readers never wait, only where the processes certainly share one machine."""
    wanted = "wal" if _file_system(folder) in _LOCAL_FILE_SYSTEMS else "delete"
    if db.execute("PRAGMA journal_mode").fetchone()[0] == wanted:
        return
    try:
        db.execute(f"PRAGMA journal_mode = {wanted}")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:  # busy: another process came first and will have set it
            raise


def _file_system(folder: Path) -> str:
    """Type of the file system that a folder lies on, empty where that cannot be told."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    place = folder.resolve()
    found = Path("/"), ""
    for line in lines:
        fields, _, tail = line.partition(" - ")
        mount = Path(fields.split()[4].replace("\\040", " "))
        if place.is_relative_to(mount) and len(mount.parts) >= len(found[0].parts):
            found = mount, tail.split()[0]
    return found[1]


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All of what is written in the block, or nothing of it; others write before or after."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    finally:
        # SQLite itself has rolled back after some errors, such as a full disk.
        if database.in_transaction:
            database.execute("ROLLBACK")
