"""How ranks that share a folder, and nothing else yet, tell each other something."""

import json
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from hpc_mlsm.errors import ExecutorError


def exchange_by_files(
    own: dict[str, Any], folder: Path, rank: int, ranks: int, timeout_s: float
) -> list[dict[str, Any]]:
    """Leave a file for the other ranks and read theirs; files of an earlier launch that was killed are not believed.

    Each file holds a number drawn anew, and the numbers that its writer has seen of the others. A file counts once it
    holds one's own number. The files are hidden ones: what looks for progress in a run directory passes them over.

    Raises
    ------
    ExecutorError
        Names the ranks that did not come.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mine = {"number": secrets.token_hex(8), "own": own, "seen": {}}
    deadline = time.monotonic() + timeout_s
    others: dict[int, dict[str, Any]] = {}
    while True:
        found = {k: _read(folder / f".rank-{k}.json") for k in range(ranks) if k != rank}
        others = {k: one for k, one in found.items() if one is not None}
        seen = {str(k): one["number"] for k, one in others.items()}
        if seen != mine["seen"] or not (folder / f".rank-{rank}.json").exists():
            mine["seen"] = seen
            _replace(folder / f".rank-{rank}.json", mine)
        agreed = [k for k, one in others.items() if one["seen"].get(str(rank)) == mine["number"]]
        if len(agreed) == ranks - 1:
            return [others[k]["own"] if k != rank else own for k in range(ranks)]
        if time.monotonic() > deadline:
            absent = sorted(set(range(ranks)) - set(agreed) - {rank})
            raise ExecutorError(
                f"rank {rank} of {ranks} waited {timeout_s:g} s for rank{'s' * (len(absent) > 1)} "
                f"{', '.join(map(str, absent[:16]))} in {folder}: not started, ended at once, or on a node that writes "
                "to another disk. See what they wrote; the folder must be on a file system that all nodes share"
            )
        # NFS shows new names only once their folder is looked at again.
        with suppress(OSError):
            os.listdir(folder)
        time.sleep(0.1)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        return found
    except (OSError, ValueError):
        return None


def _replace(path: Path, content: dict[str, Any]) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(content))
    part.replace(path)
