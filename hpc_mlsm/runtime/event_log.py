"""The log file that keeps what happens while a stage runs."""

import io
import json
import os
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hpc_mlsm.errors import RunError
from hpc_mlsm.runtime.events import Event

_KINDS: dict[str, type[Event]] = {kind.__name__: kind for kind in Event.__subclasses__()}


class EventLog:
    """A listener that appends every event to a file, one JSON object a line.

    A line cut by a crash stays behind: the next log of the same file begins on a fresh line, and ``read_events``
    skips it.

    Parameters
    ----------
    path : Path
        The log, in the run directory's ``logs/``; the folder is made where missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)
            if _lacks_newline(path):
                self._file.write(b"\n")
        except OSError as error:
            raise self._failure(error) from error

    def __call__(self, event: Event) -> None:
        line = json.dumps({"event": type(event).__name__, **asdict(event)}, ensure_ascii=False) + "\n"
        try:
            # Unbuffered and in one write: a reader, or a crash, sees whole lines.
            self._file.write(line.encode(errors="replace"))
        except OSError as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Close the file; later events are errors."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _failure(self, error: OSError) -> RunError:
        return RunError(
            f"cannot write the event log {self.path}: {error.strerror or error}. It needs a writable run directory "
            "with free space: make room, or put the run elsewhere, and run the same command again"
        )


def _lacks_newline(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, io.SEEK_END)
        return file.read(1) != b"\n"


def read_events(path: Path) -> list[Event]:
    """All events of a log, in the order they were written, without lines that were cut short or are of an unknown kind.

    Raises
    ------
    RunError
        If the file cannot be read. A missing file is an empty log.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"cannot read the event log {path}: {error.strerror or error}") from error
    events = (_event_of(line) for line in lines)
    return [event for event in events if event is not None]


def _event_of(line: bytes) -> Event | None:
    try:
        raw: Any = json.loads(line)
    except ValueError:
        return None
    kind = _KINDS.get(str(raw.pop("event", ""))) if isinstance(raw, dict) else None
    if kind is None:
        return None
    known = {item.name for item in fields(kind)}
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in raw.items() if key in known
    }
    try:
        return kind(**values)
    except TypeError:
        return None
