"""Whether a folder behaves as runs need it: renamed files are seen whole, and one of several nodes gets a lock."""

import contextlib
import errno
import json
import os
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from hpc_mlsm.runtime.probes.finding import Finding

TOKEN = "token.json"
RENAMED = "renamed.txt"
RENAME_LINES = 4000
READS = 40
PAUSE_S = 0.02
LOCK_ROUNDS = 20
START = "contest"
CONTEST_S = 0.5
"""The contest begins so long after it was opened, when all have seen that."""

ROUND_S = 0.03

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)


class SharedFolder:
    """The login node's part: it replaces a file again and again, and takes part in the contest for locks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = uuid.uuid4().hex
        (folder / TOKEN).write_text(json.dumps(self.token))
        self._ended = threading.Event()
        self._count = 0
        self._replace()
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._keep_replacing, self._contest)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(5)

    def _keep_replacing(self) -> None:
        while not self._ended.wait(PAUSE_S):
            with contextlib.suppress(OSError):
                self._replace()

    def _replace(self) -> None:
        self._count += 1
        part = self.folder / f".{RENAMED}.part"
        part.write_text(f"{self._count}\n" * RENAME_LINES)
        os.replace(part, self.folder / RENAMED)

    def _contest(self) -> None:
        while not self._ended.wait(0.05):
            with contextlib.suppress(OSError):
                os.listdir(self.folder)  # NFS shows a new name only once its folder is looked at again
                if (self.folder / START).exists():
                    contest(self.folder, "login", float((self.folder / START).read_text()))
                    return


def open_contest(folder: Path) -> float:
    """When the contest for locks begins (s since 1970), as whoever came first has said."""
    own = folder / f".start-{uuid.uuid4().hex}"
    own.write_text(str(time.time() + CONTEST_S))
    try:
        with contextlib.suppress(FileExistsError):
            os.link(own, folder / START)
    finally:
        own.unlink(missing_ok=True)
    return float((folder / START).read_text())


def contest(folder: Path, name: str, begins: float) -> None:
    """Try to get each of a row of locks at its time, by linking a file of one's own to its name."""
    own = folder / f".lock-{name}"
    own.write_text(name)
    try:
        for number in range(LOCK_ROUNDS):
            time.sleep(min(2 * CONTEST_S, max(0.0, begins + number * ROUND_S - time.time())))
            won = True
            try:
                os.link(own, folder / f"lock-{number}")
            except FileExistsError:
                won = False
            if won:
                (folder / f"won-{number}-{name}").touch()
    finally:
        own.unlink(missing_ok=True)


def check_contest(where: str, folder: Path) -> Finding:
    """Whether every lock has one winner, and the file at its name is the winner's."""
    check = "shared folder: locks"
    winners: dict[str, list[str]] = {}
    for path in folder.glob("won-*"):
        _, number, name = path.name.split("-", 2)
        winners.setdefault(number, []).append(name)
    if not winners:
        return Finding(check, where, "not asked for", "no hard links here; see above")
    wrong = [number for number, names in winners.items() if len(names) != 1]
    wrong += [n for n, names in winners.items() if (folder / f"lock-{n}").read_text() not in names]
    counts = {name: sum(names == [name] for names in winners.values()) for names in winners.values() for name in names}
    shares = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    if wrong:
        remedy = "two processes could write to one run: put runs on another file system"
        return Finding(check, where, "failure", f"{len(wrong)} of {len(winners)} locks had several winners", remedy)
    return Finding(check, where, "ok", f"{len(winners)} contests, one winner each ({shares})")


def check_seen(where: str, folder: Path, token: str) -> list[Finding]:
    """A compute node's part: the folder is the same one, renamed files are whole, a taken lock stays taken."""
    seen = "shared folder: seen"
    try:
        found = json.loads((folder / TOKEN).read_text())
    except (OSError, ValueError) as error:
        found = str(error)
    if found != token:
        remedy = "put runs into a folder that all nodes mount (--run)"
        return [Finding(seen, where, "failure", f"{folder} holds something else here: {found}", remedy)]
    return [Finding(seen, where, "ok", str(folder)), check_rename(where, folder), check_lock(where, folder)]


def check_rename(where: str, folder: Path) -> Finding:
    """Read a file that another node keeps replacing; every reading must be one whole version."""
    check = "shared folder: rename"
    whole, torn, stale, versions = 0, 0, 0, set()
    for _ in range(READS):
        try:
            lines = (folder / RENAMED).read_text().split()
        except OSError as error:
            if error.errno == errno.ESTALE:
                stale += 1
            else:
                torn += 1
        else:
            good = len(lines) == RENAME_LINES and len(set(lines)) == 1
            whole, torn = whole + good, torn + (not good)
            versions.update(lines[:1])
        time.sleep(PAUSE_S)
    figure = f"{whole} of {READS} readings whole, {len(versions)} versions seen"
    figure += f", {stale} of a version that had just gone" if stale else ""
    if torn:
        remedy = "half-written files could be believed: put runs on another file system"
        return Finding(check, where, "failure", f"{figure}, {torn} torn or missing", remedy)
    if len(versions) < 2:
        return Finding(
            check, where, "warning", figure, "this node sees changes late; run folders may look outdated here"
        )
    return Finding(check, where, "ok", figure)


def check_lock(where: str, folder: Path) -> Finding:
    """Whether hard links are made, and refused where the name exists."""
    check = "shared folder: hard links"
    own, name = folder / f".own-{uuid.uuid4().hex}", folder / f".link-{uuid.uuid4().hex}"
    try:
        own.touch()
        os.link(own, name)
        try:
            os.link(own, name)
        except FileExistsError:
            return Finding(check, where, "ok", "made, and refused where the name exists")
        remedy = "a lock could be taken twice: put runs on another file system"
        return Finding(check, where, "failure", "a name could be linked twice", remedy)
    except OSError as error:
        if error.errno in _NO_LINKS:
            remedy = "run folders are locked by exclusive creation instead; keep to one run a folder"
            return Finding(check, where, "warning", "this file system has none", remedy)
        return Finding(check, where, "failure", f"{folder}: {error.strerror or error}", "make it writable, with space")
    finally:
        for path in (own, name):
            path.unlink(missing_ok=True)
