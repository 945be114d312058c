"""The training of networks in tables for the terminal."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from hpc_mlsm.plan.networks import NetworkNeed
from hpc_mlsm.plan.words import duration, size


def networks_table(needs: Sequence[NetworkNeed]) -> Table:
    """A column for each number of ranks; below, what the times rest on."""
    first = needs[0]
    title = f"{first.network} on {first.patterns:,} patterns, {first.epochs} epochs at most, {first.folds} folds"
    table = Table(title=title, box=SIMPLE_HEAD)
    table.add_column("")
    for need in needs:
        table.add_column(_ranks(need), justify="right")
    rows = [
        ("patterns an epoch, rarer classes several times", [f"{need.visits:,}" for need in needs]),
        ("one epoch, all ranks together", [duration(need.epoch_s) for need in needs]),
        ("of it waiting for input", [f"{need.waiting:.0%}" for need in needs]),
        ("one training of all epochs", [duration(need.training_s) for need in needs]),
        ("cross-validation, one fold a rank at a time", [duration(need.folds_s) for need in needs]),
        ("memory of a GPU", [size(need.device_bytes) if need.device_bytes else "" for need in needs]),
        ("memory of a rank", [size(need.rank_bytes) for need in needs]),
        ("read an epoch", [size(need.read_bytes) for need in needs]),
        ("sent by a rank a step", [size(need.exchanged_bytes) if need.ranks > 1 else "" for need in needs]),
        ("checkpoint and model on disk", [size(need.disk_bytes) for need in needs]),
    ]
    for name, cells in rows:
        table.add_row(name, *cells)
    table.caption = "; ".join(
        dict.fromkeys(f"{'GPUs' if need.device_bytes else 'here'}: {need.basis}" for need in needs)
    )
    return table


def _ranks(need: NetworkNeed) -> str:
    if not need.device_bytes:
        return "here"
    return f"{need.ranks} GPU{'s' * (need.ranks > 1)}"
