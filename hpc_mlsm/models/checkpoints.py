"""Checkpoints of a training: what is needed to go on from a round as if nothing had happened."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from hpc_mlsm.durable import write_durably

STATE = "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """Validation losses of the rounds so far, and the booster in XGBoost's own format."""

    history: tuple[float, ...]
    booster: bytes


def save_checkpoint(folder: Path, checkpoint: Checkpoint, fingerprint: str) -> None:
    """Write the booster, then the state that names it; only what the state names is ever read back.

    Parameters
    ----------
    folder
        Is made where it is missing; older checkpoints in it are removed.
    fingerprint
        Names the data and settings.

    Raises
    ------
    StoreError
        If it cannot be written; the checkpoint before is still there then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"round-{len(checkpoint.history):05d}.ubj"
    write_durably(folder / name, checkpoint.booster)
    state = {
        "fingerprint": fingerprint,
        "history": checkpoint.history,
        "booster": name,
        "sha256": _checksum(checkpoint),
    }
    write_durably(folder / STATE, json.dumps(state).encode())
    for older in folder.glob("round-*.ubj"):
        if older.name != name:
            older.unlink()


def load_checkpoint(folder: Path, fingerprint: str) -> Checkpoint | None:
    """The checkpoint in a folder; None if there is none of this fingerprint that is whole and unaltered.

    XGBoost ends the process when it reads a truncated model, so nothing reaches it whose checksum is not right.
    """
    try:
        state = json.loads((folder / STATE).read_bytes())
        if state["fingerprint"] != fingerprint:
            return None
        history = tuple(float(loss) for loss in state["history"])
        found = Checkpoint(history, (folder / Path(state["booster"]).name).read_bytes())
        return found if state["sha256"] == _checksum(found) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _checksum(checkpoint: Checkpoint) -> str:
    losses = json.dumps(checkpoint.history).encode()
    return hashlib.sha256(losses + checkpoint.booster).hexdigest()
