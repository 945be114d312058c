"""Frames of measured patterns that were classified before: which would now get another answer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpc_mlsm.archive.answers import StoredFrames, stored_frames, stored_grid
from hpc_mlsm.errors import HpcMlsmError
from hpc_mlsm.models.bundle import Bundle, load_bundle
from hpc_mlsm.stages.context import RunContext
from hpc_mlsm.stages.update_record import ChangedAnswer

STAGE = "update"


def changed_answers(
    context: RunContext, predictions: Sequence[Path], events: Sequence[Mapping[str, Any]]
) -> tuple[int, tuple[ChangedAnswer, ...]]:
    """Classify the frames of files of predictions by the model of now.

    An answer is the class that comes first, filters aside. One whose class was merged into that which comes first now
    is no other answer. Files that are not there, cannot be read or have another grid are passed over with a note.

    Returns
    -------
    frames : int
        How many were classified again.
    answers : tuple of ChangedAnswer
    """
    present = [path for path in predictions if path.exists() or context.config.update.predictions]
    if not present:
        return 0, ()
    bundle = load_bundle(context.run.model)
    into = {event["class_id"]: set(event["others"]) for event in events if event["event"] == "merged"}
    frames, answers = 0, []
    for path in present:
        try:
            grid = stored_grid(path)
            if not np.array_equal(grid, bundle.info.grid):
                context.note(STAGE, f"{path} has another grid than the model; predict its frames anew")
                continue
            for stored in stored_frames(path):
                frames += len(stored.names)
                answers += _changed(bundle, path, stored, into)
        except HpcMlsmError as error:
            context.note(STAGE, str(error))
    return frames, tuple(answers)


def _changed(bundle: Bundle, path: Path, stored: StoredFrames, into: Mapping[str, set[str]]) -> list[ChangedAnswer]:
    probabilities = bundle.probabilities(stored.patterns)
    first = probabilities.argmax(axis=1)
    found = []
    for row, label in enumerate(first):
        entry, before = bundle.classes[label], stored.class_ids[row]
        if entry.class_id == before or entry.class_id in into.get(before, ()):
            continue
        found.append(
            ChangedAnswer(
                predictions=str(path),
                frame=stored.names[row],
                class_before=before,
                formula_before=stored.formulae[row],
                class_now=entry.class_id,
                formula_now=entry.representative_member.formula,
                probability_before=float(np.nan_to_num(stored.probabilities[row])),
                probability_now=float(probabilities[row, label]),
            )
        )
    return found
