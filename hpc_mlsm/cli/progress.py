"""What a user sees of a running stage: a live display on a terminal, a line a minute in a batch log."""

import os
import threading
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from hpc_mlsm.runtime.events import (
    Event,
    Listener,
    Note,
    SetAside,
    StageFinished,
    StageStarted,
    TaskFailed,
    TaskFinished,
    TaskSplit,
    WorkerLost,
)

LINE_EVERY_S = 60.0
MAX_FAILURES_SHOWN = 10
"""Failures of a stage that are written out; all of them are in the event log."""


class Tally:
    """How far a stage has come, counted from its events."""

    def __init__(self, started: StageStarted) -> None:
        self.stage, self.units = started.stage, started.units
        self.n_tasks, self.n_units = started.n_tasks, started.n_units
        self.done = self.failed = self.units_done = 0
        self.start = time.monotonic()

    def count(self, event: Event) -> None:
        """Take an event of the stage into account."""
        if isinstance(event, TaskFinished):
            self.done += 1
            self.units_done += event.n_units
        elif isinstance(event, TaskFailed):
            self.failed += 1
        elif isinstance(event, TaskSplit):
            self.n_tasks += len(event.parts) - 1

    @property
    def elapsed_s(self) -> float:
        """Seconds since the stage started."""
        return time.monotonic() - self.start

    @property
    def rate(self) -> float:
        """Units a second since the stage started."""
        return self.units_done / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def remaining_s(self) -> float | None:
        """Seconds still to go at the present rate; None before anything is known."""
        return (self.n_units - self.units_done) / self.rate if self.rate > 0 else None

    def line(self) -> str:
        """All of it in one line."""
        parts = [
            f"{self.stage}: {self.done + self.failed}/{self.n_tasks} tasks",
            f"{self.units_done}/{self.n_units} {self.units}",
            f"{self.rate:.3g} {self.units}/s",
            f"{self.failed} failed",
            f"{_clock(self.elapsed_s)} elapsed",
        ]
        if self.remaining_s is not None and self.units_done < self.n_units:
            parts.append(f"about {_clock(self.remaining_s)} to go")
        return ", ".join(parts)


class _Display:
    """What both displays share: the tally of the present stage, and messages in words."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.tally: Tally | None = None
        self.failures_shown = 0

    def __call__(self, event: Event) -> None:
        """Take an event in."""
        if isinstance(event, StageStarted):
            self.tally, self.failures_shown = Tally(event), 0
            self.on_start(self.tally)
        elif self.tally is not None:
            self.tally.count(event)
        text = self.message(event)
        if text:
            self.say(text)
        if self.tally is not None:
            self.on_change(self.tally)
            if isinstance(event, StageFinished):
                tally, self.tally = self.tally, None
                self.on_end(tally)

    def message(self, event: Event) -> str:
        """What is written of an event at once; mostly nothing."""
        if isinstance(event, Note):
            return event.text
        if isinstance(event, SetAside):
            return f"{event.stage}: {event.id} was set aside ({event.reason}): {event.detail}"
        if isinstance(event, WorkerLost):
            return f"{event.stage}: a worker {event.reason}; its tasks are given to others"
        if isinstance(event, TaskFailed):
            self.failures_shown += 1
            if self.failures_shown <= MAX_FAILURES_SHOWN:
                return f"{event.stage}: task {event.task_id} failed: {event.error}"
            if self.failures_shown == MAX_FAILURES_SHOWN + 1:
                return f"{event.stage}: further failures are written to the event log only"
        return ""

    def say(self, text: str) -> None:
        """Write a line."""
        raise NotImplementedError

    def on_start(self, tally: Tally) -> None:
        """A stage starts."""

    def on_change(self, tally: Tally) -> None:
        """Something was counted."""

    def on_end(self, tally: Tally) -> None:
        """A stage ended."""


class ProgressDisplay(_Display):
    """A live bar for each stage on a terminal: tasks, units a second, failures, time gone and to go."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[tasks]}"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("[dim]gone, to go"),
            TimeRemainingColumn(),
            TextColumn("[red]{task.fields[failed]}"),
            console=console,
        )
        self._bar: TaskID | None = None

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def say(self, text: str) -> None:
        """Write a line above the bars."""
        self.progress.console.print(escape(text), highlight=False)

    def on_start(self, tally: Tally) -> None:
        """Add the stage's bar."""
        self._bar = self.progress.add_task(tally.stage, total=tally.n_units or None, tasks="", rate="", failed="")

    def on_change(self, tally: Tally) -> None:
        """Move the stage's bar."""
        if self._bar is None:
            return
        self.progress.update(
            self._bar,
            completed=tally.units_done,
            tasks=f"{tally.done + tally.failed}/{tally.n_tasks} tasks",
            rate=f"{tally.rate:.3g} {tally.units}/s",
            failed=f"{tally.failed} failed" if tally.failed else "",
        )

    def on_end(self, tally: Tally) -> None:
        """Leave the bar standing, stopped."""
        if self._bar is not None:
            # A stage with nothing to do is complete, not pending.
            total = max(tally.n_units, 1)
            complete = tally.units_done if tally.n_units else 1
            self.progress.update(self._bar, total=total, completed=complete)
            self.progress.stop_task(self._bar)
            self._bar = None


class LogLines(_Display):
    """A line at the start and the end of each stage and once a minute in between, also while no task finishes."""

    def __init__(self, console: Console, every_s: float = LINE_EVERY_S) -> None:
        super().__init__(console)
        self.every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="progress-lines", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def say(self, text: str) -> None:
        """Write a line with the time before it."""
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}"
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def on_start(self, tally: Tally) -> None:
        """Say what is to be done."""
        self.say(f"{tally.stage}: started, {tally.n_tasks} tasks, {tally.n_units} {tally.units}")

    def on_end(self, tally: Tally) -> None:
        """Say what was done."""
        self.say(f"{tally.line()}, ended")

    def _tick(self) -> None:
        while not self._ended.wait(self.every_s):
            tally = self.tally
            if tally is not None:
                self.say(tally.line())


def make_listener(console: Console) -> AbstractContextManager[Listener]:
    """The display that fits where the output goes: live on a terminal, lines in a batch log."""
    # mpirun gives its ranks a terminal of its own making, of which only the text gets through.
    under_mpi = any(os.environ.get(name) for name in ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"))
    return ProgressDisplay(console) if console.is_terminal and not under_mpi else LogLines(console)


def _clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
