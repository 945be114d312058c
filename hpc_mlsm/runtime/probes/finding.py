"""What a check found, in words that a user can act on."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["ok", "warning", "failure", "not asked for"]


@dataclass(frozen=True)
class Finding:
    """One check.

    Attributes
    ----------
    check
        What was tried, such as ``shared folder: rename``.
    where
        On which node.
    verdict
        ``failure`` is what a run would end of.
    figure
        What was found, with its numbers.
    remedy
        What to do; empty where all is well.
    """

    check: str
    where: str
    verdict: Verdict
    figure: str
    remedy: str = ""

    def plain(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


def failed(findings: Iterable[Finding]) -> bool:
    """Whether one of the checks found something that a run would end of."""
    return any(one.verdict == "failure" for one in findings)


def from_plain(rows: Iterable[dict[str, Any]]) -> list[Finding]:
    """What ``plain`` made."""
    return [Finding(**row) for row in rows]
