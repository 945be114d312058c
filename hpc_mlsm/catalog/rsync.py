"""The program rsync: lists a part of a remote tree, and brings a local copy of it up to date."""

import contextlib
import os
import re
import subprocess
from calendar import timegm
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge

from hpc_mlsm.errors import CatalogueError

PARTIAL = ".partial"
"""Where rsync keeps the beginnings of files when it is cut off."""

_LISTED = re.compile(
    r"^(?P<kind>[-dl])\S+\s+(?P<size>[\d,.]+)\s+(?P<time>\d{4}(?:/\d\d){2} \d\d:\d\d:\d\d) (?P<name>.+)$"
)
_ONLY_CIFS = ("--include=*/", "--include=*.cif", "--exclude=*")
_AGAIN = frozenset({10, 12, 24, 30, 35})
"""Exit statuses that a second try may help: connections refused, broken or silent; files that vanished meanwhile."""

_REASONS = {
    1: "rsync does not understand its arguments; a newer version is needed (3.1 or later)",
    5: "the server refused, or has no such module: check the name after the host",
    10: "no connection: the server is down, refuses, or a firewall is between; try again later",
    11: "files cannot be written: see that the disk of the mirror is not full and its folder writable",
    12: "the connection broke; run the same command again to go on",
    23: "some files could not be transferred; check the range, and run the same command again",
    24: "files changed at the source meanwhile; run the same command again",
    30: "the server went silent; run the same command again to go on",
    35: "the server did not answer; try again later",
}


@dataclass(frozen=True)
class Politeness:
    """How a source is treated, which others use too: one connection at a time, and never at full speed.

    Attributes
    ----------
    bandwidth_kib_s
        Most KiB a second; 0 sets no limit.
    pause_s
        Seconds between two ranges.
    silence_s
        Seconds without any answer after which a connection counts as broken.
    tries
        How often a range is tried where the connection breaks.
    """

    bandwidth_kib_s: Annotated[int, Ge(0)] = 2000
    pause_s: Annotated[float, Ge(0)] = 2.0
    silence_s: Annotated[int, Ge(1)] = 60
    tries: Annotated[int, Ge(1)] = 3


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file at the source: its path below the listed folder, size (bytes) and time (s since 1970)."""

    name: str
    size: int
    mtime: int


class BrokenConnection(CatalogueError):  # noqa: N818  (named after what happened)
    """The transfer ended in a way that a second try may mend."""


def list_files(source: str, manners: Politeness) -> list[RemoteFile]:
    """The CIFs below a folder of the source, ordered by name.

    Raises
    ------
    CatalogueError
        If rsync is not installed, the source cannot be reached, or has no such folder.
    """
    found = [entry for kind, entry in _listed(source, manners, "--recursive", *_ONLY_CIFS) if kind == "-"]
    return sorted(found, key=lambda file: file.name)


def list_folders(source: str, manners: Politeness) -> list[str]:
    """Names of the folders directly in a folder of the source, ordered."""
    return sorted(entry.name for kind, entry in _listed(source, manners, "--dirs") if kind == "d" and entry.name != ".")


def _listed(source: str, manners: Politeness, *options: str) -> Iterator[tuple[str, RemoteFile]]:
    arguments = ["--list-only", "--no-human-readable", *options, _folder(source)]
    for line in _run(arguments, source, manners):
        match = _LISTED.match(line)
        if match:
            day, clock = match["time"].split()
            when = (*map(int, day.split("/")), *map(int, clock.split(":")), 0, 0, 0)
            size = int(re.sub(r"\D", "", match["size"]))
            yield match["kind"], RemoteFile(match["name"], size, timegm(when))


def fetch(source: str, target: Path, manners: Politeness, on_file: Callable[[str], None]) -> None:
    """Bring the CIFs of a folder up to date with those of the source; nothing is deleted.

    Each file appears under its name only when it is whole. ``on_file`` is told the name of each that was transferred.

    Raises
    ------
    BrokenConnection
        If the connection broke; what was transferred by then stays.
    CatalogueError
        If rsync is not installed, or cannot read there or write here.
    """
    options = ["--recursive", "--times", f"--partial-dir={PARTIAL}", "--out-format=%n", *_ONLY_CIFS]
    if manners.bandwidth_kib_s:
        options.append(f"--bwlimit={manners.bandwidth_kib_s}")
    for line in _run([*options, _folder(source), f"{target}/"], source, manners):
        if line.endswith(".cif"):
            on_file(line)


def _folder(source: str) -> str:
    return source.rstrip("/") + "/"


def _run(arguments: Sequence[str], source: str, manners: Politeness) -> Iterator[str]:
    """Lines that rsync prints. Times are in UTC, messages in English."""
    remote = ["--contimeout", str(manners.silence_s)] if source.startswith("rsync://") else []
    command = ["rsync", "--no-motd", "--timeout", str(manners.silence_s), *remote, *arguments]
    environment = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PATH": os.environ.get("PATH", os.defpath)}
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
        )
    except FileNotFoundError as error:
        raise CatalogueError(
            "the program rsync is not installed here; install the package rsync, or sync on a machine that has it"
        ) from error
    said: deque[str] = deque(maxlen=20)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            said.append(line.rstrip("\n"))
            yield said[-1]
        status = process.wait()
    finally:
        # Where this program is told to stop, rsync is too: it ends by itself in the middle of a file.
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        process.stdout.close()
        process.wait()
    if status:
        raise _error(status, source, list(said))


def _error(status: int, source: str, said: Sequence[str]) -> CatalogueError:
    words = [line for line in said if line.startswith(("rsync:", "@ERROR")) or "No space" in line]
    full = any("No space left" in line or "Disk quota" in line for line in words)
    reason = _REASONS[11] if full else _REASONS.get(status, "see what rsync said")
    text = f"{source} cannot be mirrored: {reason} (rsync status {status}: {'; '.join(words[:2]) or 'no message'})"
    return BrokenConnection(text) if status in _AGAIN and not full else CatalogueError(text)
