"""The ranks of a launch, which all run the same command: their places, and how they find each other."""

from dataclasses import dataclass
from typing import Protocol

from dask.distributed import Security

SCHEDULER_RANK = 0
DRIVER_RANK = 1
OTHER_RANKS = 2
"""Ranks of a launch that are no workers: scheduler and driver."""


@dataclass(frozen=True)
class Contact:
    """Where the scheduler of a launch listens, and the certificate that opens its door."""

    address: str
    security: Security


@dataclass(frozen=True)
class Place:
    """One rank of a launch: its number, how many there are, and how many of them share its node."""

    rank: int
    ranks: int
    ranks_here: int

    @property
    def workers(self) -> int:
        """Workers of the whole launch."""
        return self.ranks - OTHER_RANKS


class Meeting(Protocol):
    """How the ranks of a launch find each other."""

    @property
    def place(self) -> Place:
        """The place of this rank."""

    def security(self) -> Security:
        """A certificate for this launch; called by the scheduler."""

    def announce(self, contact: Contact) -> None:
        """Tell all other ranks; called by the scheduler."""

    def learn(self) -> Contact:
        """Wait for what the scheduler announces; called by all others."""

    def forget(self) -> None:
        """Remove what was left for others to find; called by the scheduler at the end."""
