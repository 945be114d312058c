"""Answers about powder patterns as a NeXus file, which silx view and H5Web open as plots.

``/entry/measured`` holds the patterns as the models saw them (frames × 2θ), ``/entry/answers`` the probabilities
(frames × models × classes), ``/entry/frames`` names, peaks and what was noted, ``/entry/process`` what made the file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.powder_answers import PowderAnswer
from hpc_mlsm.archive.prediction_file import nx_data, nx_group, write_numbers, write_process, write_texts
from hpc_mlsm.durable import write_durably
from hpc_mlsm.errors import StoreError
from hpc_mlsm.models.powder_models import PowderModel


@dataclass(frozen=True, eq=False)
class StoredAnswers:
    """A file of answers read again.

    Attributes
    ----------
    two_theta : float64 (points,)
        Degree.
    names : tuple of str
        Of the patterns.
    patterns : float32 (patterns, points)
        As the models saw them, without their background.
    models, classes : tuple of str
    probabilities : float64 (patterns, models, classes)
    """

    two_theta: NDArray[np.float64]
    names: tuple[str, ...]
    patterns: NDArray[np.float32]
    models: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: NDArray[np.float64]


def read_answers_nexus(path: Path) -> StoredAnswers:
    """What ``write_answers_nexus`` wrote.

    Raises
    ------
    StoreError
        If the file is missing, damaged, or holds no answers about powder patterns.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            entry = file["entry"]
            names, models, classes = (
                tuple(entry[place].asstr()[()]) for place in ("frames/name", "names/model", "names/class")
            )
            return StoredAnswers(
                entry["measured/two_theta"][()].astype(np.float64),
                names,
                entry["measured/intensity"][()],
                models,
                classes,
                entry["answers/probability"][()].astype(np.float64),
            )
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{path} cannot be read as answers about powder patterns ({error}); predict its patterns anew"
        ) from error


def write_answers_nexus(
    path: Path,
    models: Sequence[PowderModel],
    answers: Sequence[PowderAnswer],
    provenance: Mapping[str, str] | None = None,
) -> None:
    """Write answers and the patterns that they are of; the file appears only when it is whole.

    Raises
    ------
    StoreError
        If the file cannot be written.
    """
    write_durably(path, _image(models, answers, provenance or {}))


def _image(models: Sequence[PowderModel], answers: Sequence[PowderAnswer], provenance: Mapping[str, str]) -> bytes:
    with h5py.File("answers", "w", driver="core", backing_store=False) as file:
        file.attrs["creator"] = "hpc_mlsm"
        file.attrs["default"] = "entry"
        entry = nx_group(file, "entry", "NXentry")
        entry.attrs["default"] = "measured"
        entry["title"] = f"Crystal systems of {len(answers)} measured patterns"
        frames = np.arange(len(answers))
        measured = nx_data(entry, "measured", "intensity", {"frame": frames, "two_theta": models[0].two_theta})
        measured["two_theta"].attrs["units"] = "degree"
        values = np.array([answer.prepared.values for answer in answers], dtype=np.float32)
        write_numbers(measured, "intensity", values.reshape(len(answers), len(models[0].two_theta)))
        measured["intensity"].attrs.update({"long_name": "intensity (largest = 1)", "interpretation": "spectrum"})
        shape = (len(answers), len(models), len(models[0].classes))
        axes = {name: np.arange(size) for name, size in zip(("frame", "model", "class"), shape, strict=True)}
        found = nx_data(entry, "answers", "probability", axes)
        write_numbers(found, "probability", np.array([answer.probabilities for answer in answers]).reshape(shape))
        names = nx_group(entry, "names", "NXcollection")
        write_texts(names, "class", models[0].classes)
        write_texts(names, "model", [model.name for model in models])
        write_texts(names, "kind", [model.kind for model in models])
        names["calibrated"] = np.array([model.calibrated for model in models])
        _write_frames(entry, answers)
        write_process(entry, provenance)
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


def _write_frames(entry: h5py.Group, answers: Sequence[PowderAnswer]) -> None:
    about = nx_group(entry, "frames", "NXcollection")
    write_texts(about, "name", [answer.name for answer in answers])
    write_texts(about, "source", [answer.source for answer in answers])
    write_texts(about, "flags", ["; ".join(answer.prepared.flags) for answer in answers])
    write_texts(about, "notes", ["; ".join(answer.prepared.notes) for answer in answers])
    write_numbers(about, "peaks", np.array([answer.prepared.peaks for answer in answers], dtype=np.int32))
    covered = np.array([answer.prepared.covered for answer in answers], dtype=np.float64).reshape(len(answers), 2)
    write_numbers(about, "covered", covered)
    about["covered"].attrs["units"] = "degree"
