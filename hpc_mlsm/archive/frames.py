"""An archive as the rest of the package sees it: numbered frames, their variables, curves that are read by slices."""

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.pattern import Axis, Pattern
from hpc_mlsm.errors import PatternError

Form = Literal["files", "zip", "tar", "stack"]
ArchiveKind = Literal["pdf", "powder"]


@dataclass(frozen=True, eq=False)
class Variable:
    """One number a frame, such as temperature, in a unit; NaN where it is not known."""

    name: str
    unit: str
    values: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ArchiveIndex:
    """What an archive holds and where, without the curves: picklable, and small enough to send or to save.

    Attributes
    ----------
    source : str
        As the user named it.
    form : {"files", "zip", "tar", "stack"}
    kind : {"pdf", "powder"}
    n_frames : int
    axis, unit : as in Pattern
        Of every frame; None where the files do not say it and the kind was given.
    unit_given : bool
        Whether the user said it, in place of the files.
    members : tuple of str
        Of text archives: path of each frame's file, or its name in the zip or tar file.
    places : int64 (n_frames, 3)
        Of text archives: where the bytes begin (tar), their number, and when they were last written (ns); 0 where
        that is not known.
    dataset, abscissa : str
        Of stacks: paths of the signal and of its abscissa in the file.
    shape : tuple of int
        Of the frames: (n,), or (rows, columns) of a map.
    variables : tuple of Variable
    synthetic : str
        What the archive says of itself where its frames were made up and not measured; empty otherwise.
    notes : tuple of str
        What a reader should know, such as frames that are not written yet.
    """

    source: str
    form: Form
    kind: ArchiveKind
    n_frames: int
    axis: Axis | None
    unit: str | None
    unit_given: bool = False
    members: tuple[str, ...] = ()
    places: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 3), dtype=np.int64))
    dataset: str = ""
    abscissa: str = ""
    shape: tuple[int, ...] = ()
    variables: tuple[Variable, ...] = ()
    synthetic: str = ""
    notes: tuple[str, ...] = ()

    def name(self, frame: int) -> str:
        """What a frame is called in tables: its file, or the dataset and its number."""
        return self.members[frame] if self.members else f"{self.dataset}[{frame}]"

    def variable(self, name: str) -> Variable | None:
        """A variable by name."""
        return next((one for one in self.variables if one.name == name), None)


def called(name: str) -> str:
    """A frame's name for people: the file without folders and ending, or the dataset and the frame's number."""
    return name if name.endswith("]") else PurePosixPath(name).stem


@dataclass(frozen=True, eq=False)
class Curves:
    """Frames that share an abscissa and a header.

    ``frames`` (n,) are their numbers in the archive, ``y`` is (n, m); ``like`` is the first of them, whose axis, unit
    and metadata are those of all.
    """

    frames: NDArray[np.int64]
    y: NDArray[np.float64]
    like: Pattern

    @property
    def x(self) -> NDArray[np.float64]:
        """The abscissa, shape (m,)."""
        return self.like.x

    def pattern(self, row: int, name: str) -> Pattern:
        """One of the curves by itself."""
        like = self.like
        return Pattern(called(name), like.x, self.y[row], like.axis, like.unit, None, like.metadata, name)


@dataclass(frozen=True, slots=True)
class FrameReject:
    """A frame that was set aside: a short stable code, and a sentence for people."""

    frame: int
    reason: str
    detail: str

    @classmethod
    def of(cls, frame: int, error: PatternError) -> "FrameReject":
        """What an error says of a frame."""
        return cls(frame, error.reason, error.detail)


@dataclass(frozen=True, eq=False)
class FrameBlock:
    """Consecutive frames of an archive: those that can be used, by common abscissa, and those that cannot."""

    curves: tuple[Curves, ...]
    rejects: tuple[FrameReject, ...]
