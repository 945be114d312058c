"""What models of powder patterns say of the frames of an archive: one row a frame, the models side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpc_mlsm import __version__
from hpc_mlsm.archive.frames import ArchiveIndex
from hpc_mlsm.archive.predictions import Predictions

LISTED = 2
"""Classes of a frame that the table lists of each model; shards have more."""


@dataclass(frozen=True, eq=False)
class FrameAnswers:
    """What one model says of all frames, its classes by label, what it is, and a hash of it."""

    found: Predictions
    classes: tuple[str, ...]
    kind: str
    hash: str


def frames_table(index: ArchiveIndex, answers: Mapping[str, FrameAnswers]) -> tuple[Any, int]:
    """The table (pyarrow), and for how many frames all models name the same class.

    Columns are frame, name, the variables, ``agreed``, and of each model ``MODEL_1``, ``MODEL_probability_1``,
    ``MODEL_2``, ``MODEL_probability_2`` and ``MODEL_notes``: what was assumed, or why the frame was set aside. The
    metadata say of each model what it is, its hash, and whether its probabilities are calibrated.
    """
    import pyarrow as pa

    columns: dict[str, Any] = {
        "frame": np.arange(index.n_frames),
        "name": [index.name(frame) for frame in range(index.n_frames)],
    }
    metadata = {"archive": index.source, "hpc_mlsm": __version__}
    for variable in index.variables:
        columns.setdefault(variable.name, variable.values)
        metadata[f"unit.{variable.name}"] = variable.unit
    columns["agreed"] = agreed = _agreed(answers)
    for model, answer in answers.items():
        columns |= _columns(model, answer)
        metadata |= {f"{model}.kind": answer.kind, f"{model}.hash": answer.hash}
        metadata[f"{model}.calibrated"] = str(answer.found.calibrated).lower()
    table = pa.table({key: pa.array(value) for key, value in columns.items()})
    return table.replace_schema_metadata(metadata), int(agreed.sum())


def _agreed(answers: Mapping[str, FrameAnswers]) -> np.ndarray:
    """Frames that all models answer, and with the same class."""
    names = [np.array([*one.classes, ""], dtype=object)[one.found.classes[:, 0]] for one in answers.values()]
    same = np.all([own == names[0] for own in names], axis=0)
    return np.asarray(same & (names[0] != ""), dtype=bool)


def _columns(model: str, answer: FrameAnswers) -> dict[str, Any]:
    found = answer.found
    names = np.array([*answer.classes, ""], dtype=object)
    columns: dict[str, Any] = {}
    for rank in range(min(LISTED, found.classes.shape[1])):
        columns[f"{model}_{rank + 1}"] = names[found.classes[:, rank]]
        columns[f"{model}_probability_{rank + 1}"] = found.probabilities[:, rank]
    notes = np.array([*found.notes, ""], dtype=object)[found.note]
    for reject in found.rejects:
        notes[reject.frame] = f"{reject.reason}: {reject.detail}"
    columns[f"{model}_notes"] = notes
    return columns
