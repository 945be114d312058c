"""A run in use by a command: opened, listened to, and at the end a table of what its stages did and cost."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from hpc_mlsm.cli.progress import make_listener
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.plan.words import duration
from hpc_mlsm.runtime.accounts import Accounts, StageAccount
from hpc_mlsm.runtime.events import EventBus
from hpc_mlsm.runtime.factory import take_place
from hpc_mlsm.stages.context import RunContext, open_run
from hpc_mlsm.stages.run_directory import RunDirectory


@contextmanager
def opened(directory: RunDirectory, config: RunConfig) -> Iterator[tuple[RunContext, Console]]:
    """A run in use, and where to print; at the end a table of what its stages did and cost."""
    console = Console()
    take_place(config.executor, directory.path)  # under srun or mpirun all but one become scheduler and workers here
    accounts = Accounts()
    try:
        with make_listener(console) as display, open_run(directory, config, EventBus(display, accounts)) as context:
            yield context, console
    finally:
        if stages := accounts.stages():
            console.print(accounts_table(stages, "What was done"))


def accounts_table(accounts: list[StageAccount], title: str) -> Table:
    """What each stage made, what it cost, and what went wrong in it."""
    table = Table(title=title, box=SIMPLE_HEAD)
    table.add_column("stage")
    table.add_column("made", no_wrap=True)
    for heading in ("time", "a second", "core-hours", "workers busy"):
        table.add_column(heading, justify="right")
    troubled = any(map(_troubles, accounts))
    if troubled:
        table.add_column("of it")
    for one in accounts:
        busy = "" if one.efficiency is None else f"{one.efficiency:.0%}"
        rate, hours = f"{one.rate:.0f}" if one.rate >= 100 else f"{one.rate:.2g}", _hours(one.core_hours)
        row = [one.stage, f"{one.n_units} {one.units}", duration(one.seconds), rate, hours, busy]
        table.add_row(*row, *([_troubles(one)] if troubled else []))
    if len(accounts) > 1:
        table.add_section()
        hours = _hours(sum(one.core_hours for one in accounts))
        table.add_row("all", "", duration(sum(one.seconds for one in accounts)), "", hours)
    return table


def _troubles(one: StageAccount) -> str:
    counts = {
        "tasks failed": one.failed,
        "tried again": one.retried,
        "set aside": one.set_aside,
        "workers lost": one.workers_lost,
    }
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def _hours(hours: float) -> str:
    return f"{hours:.3g}" if hours >= 0.01 else "< 0.01"
