"""Stacks of frames in HDF5: finding signal, abscissa and variables by their NeXus attributes."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  (registers the filters that detectors write with)
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import PatternError

H5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".nxs", ".nx", ".nexus")
H5_ERRORS = (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError)
"""What h5py raises on damaged files, depending on which byte is damaged."""

MIN_POINTS = 10
_SHOWN = 30


@dataclass(frozen=True)
class StackPlace:
    """Where a stack lies in its file: paths of the signal and of its abscissa, and of what varies with the frames.

    ``along`` names each leading dimension's axis ("" where it has none), ``beside`` further datasets of one number a
    frame.
    """

    signal: str
    abscissa: str
    along: tuple[str, ...]
    beside: tuple[str, ...]


def split_address(address: str) -> tuple[Path, str]:
    """File and dataset of ``file.h5::/entry/data``; the dataset is empty where it is not named."""
    file, _, dataset = address.partition("::")
    return Path(file), dataset.strip()


def is_stack(address: str) -> bool:
    """Whether an address is one of an HDF5 file."""
    path, dataset = split_address(address)
    return bool(dataset) or path.suffix.lower() in H5_SUFFIXES or (path.is_file() and _has_magic(path))


@contextmanager
def open_stack(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file for reading, without file locks; one that is being written, if its writer allows that.

    Raises
    ------
    PatternError
        "missing", "truncated", "being_written" or "damaged".
    """
    if not path.exists():
        raise PatternError("missing", f"{path}: there is no such file; check the path")
    with _opened(path) as file:
        yield file


def _opened(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r", locking=False)
    except H5_ERRORS as error:
        first = error
    if "truncated" in str(first):
        raise PatternError(
            "truncated",
            f"{path}: the file is cut short ({first}); copy it again, or wait until whoever writes it has closed it",
        ) from first
    if not _has_magic(path):
        raise PatternError(
            "damaged", f"{path}: is no HDF5 file ({first}); name an HDF5 file, a folder, or a zip or tar file"
        ) from first
    try:
        return h5py.File(path, "r", swmr=True, locking=False)
    except H5_ERRORS as error:
        raise PatternError(
            "being_written",
            f"{path}: cannot be opened ({error}); if it is still being written, wait until it is closed, else copy it "
            "again",
        ) from error


def _has_magic(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(8) == b"\x89HDF\r\n\x1a\n"
    except OSError:
        return False


def find_stack(file: h5py.File, path: str, abscissa: str, where: str) -> StackPlace:
    """Signal, abscissa and variables of what is at ``path``: a dataset, an NXdata group, or a group above one.

    ``@default`` leads from the root and entries to the data, ``@signal`` and ``@axes`` name its parts. An empty path
    begins at the root.

    Raises
    ------
    PatternError
        "no_dataset" where there is nothing at the path, listing what is; "ambiguous" where several datasets could be
        meant; "no_abscissa", "too_few_points" or "not_numbers".
    """
    start = path or "/"
    if start not in file:
        raise PatternError("no_dataset", f"{where}: there is no {start} in the file; it holds {_listed(file)}")
    try:
        node = file[start]
    except H5_ERRORS as error:
        raise PatternError("damaged", f"{where}: {start} cannot be opened ({error}); copy the file again") from error
    if isinstance(node, h5py.Group):
        node = _signal_of(file, node, where)
    _check_signal(node, where)
    group = node.parent
    names = _axes_of(group, node)
    x = _abscissa(file, group, node, names, abscissa, where)
    along = tuple(
        group[name].name if name and name in group and group[name].shape == (size,) else ""
        for name, size in zip(names[:-1], node.shape[:-1], strict=True)
    )
    taken = {node.name, x, *along}
    beside = tuple(
        one.name
        for one in group.values()
        if isinstance(one, h5py.Dataset)
        and one.name not in taken
        and one.shape == node.shape[:-1]
        and np.issubdtype(one.dtype, np.number)
    )
    return StackPlace(node.name, x, along, beside)


def text_of(owner: h5py.Group | h5py.Dataset, name: str) -> str:
    """An attribute that is a text, empty where there is none."""
    value = owner.attrs.get(name, "")
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size else ""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _signal_of(file: h5py.File, group: h5py.Group, where: str) -> h5py.Dataset:
    """The dataset that a group shows, by @default and @signal, or the only one that can be a stack."""
    seen = set()
    current = group
    while current.name not in seen:
        seen.add(current.name)
        signal = text_of(current, "signal")
        if signal:
            if signal not in current or not isinstance(current[signal], h5py.Dataset):
                raise PatternError(
                    "no_dataset",
                    f"{where}: {current.name} says that its signal is {signal!r}, which is not there; it holds "
                    f"{_listed(file)}",
                )
            return current[signal]
        default = text_of(current, "default")
        if default and default in current and isinstance(current[default], h5py.Group):
            current = current[default]
    stacks = [one for one in _datasets(group) if one.ndim >= 2 and np.issubdtype(one.dtype, np.number)]
    if len(stacks) == 1:
        return stacks[0]
    what = "no dataset" if not stacks else f"{len(stacks)} datasets"
    raise PatternError(
        "ambiguous",
        f"{where}: {what} in {group.name} could be the stack; name one as file.h5::/path: the file holds "
        f"{_listed(file)}",
    )


def _check_signal(node: h5py.Dataset, where: str) -> None:
    shape = " × ".join(map(str, node.shape))
    if not np.issubdtype(node.dtype, np.number) or np.issubdtype(node.dtype, np.complexfloating):
        raise PatternError("not_numbers", f"{where}: {node.name} holds {node.dtype}, patterns are real numbers")
    if node.ndim < 2:
        raise PatternError(
            "no_dataset",
            f"{where}: {node.name} has the shape ({shape}), a stack has at least two dimensions, frames and points; it "
            f"holds {_listed(node.file)}",
        )
    if node.shape[-1] < MIN_POINTS:
        raise PatternError(
            "too_few_points",
            f"{where}: {node.name} has {node.shape[-1]} points a frame ({shape}), at least {MIN_POINTS} are needed; "
            "the last dimension must be that of the abscissa",
        )


def _axes_of(group: h5py.Group, node: h5py.Dataset) -> list[str]:
    """Name of the axis of each dimension, "" where it has none."""
    described = group if "axes" in group.attrs else node
    raw = described.attrs.get("axes")
    signal = text_of(group, "signal")
    if raw is None or (signal and f"{group.name.rstrip('/')}/{signal}" != node.name):
        return [""] * node.ndim
    values = np.atleast_1d(raw).ravel().tolist()
    names = [value.decode() if isinstance(value, bytes) else str(value) for value in values]
    if len(names) == 1 and node.ndim > 1 and (":" in names[0] or "," in names[0]):
        names = names[0].replace(",", ":").strip("[]").split(":")
    if len(names) == 1 and node.ndim > 1:
        names = [""] * (node.ndim - 1) + names
    placed = [""] * node.ndim
    for position, name in enumerate(names):
        indices = np.atleast_1d(group.attrs.get(f"{name}_indices", position)).astype(int)
        if name != "." and len(indices) == 1 and indices[0] < node.ndim and not placed[indices[0]]:
            placed[int(indices[0])] = name
    return placed


def _abscissa(file: h5py.File, group: h5py.Group, node: h5py.Dataset, names: list[str], asked: str, where: str) -> str:
    points = node.shape[-1]
    option = "say which dataset it is: predict.archive.abscissa = /path"
    if asked:
        found = file.get(asked, group.get(asked))
        if not isinstance(found, h5py.Dataset) or found.shape != (points,):
            shape = f"has the shape {found.shape}" if isinstance(found, h5py.Dataset) else "is not there"
            raise PatternError(
                "no_abscissa", f"{where}: {asked} {shape}, {points} points are needed; the file holds {_listed(file)}"
            )
        return str(found.name)
    named = names[-1]
    if named and named in group and group[named].shape == (points,):
        return str(group[named].name)
    usual = ("r", "q", "Q", "two_theta", "2theta", "tth", "ttheta", "x", "radial", "azimuthal")
    beside = [group[name] for name in usual if isinstance(group.get(name), h5py.Dataset)]
    fitting = [one for one in beside if one.shape == (points,)]
    if len(fitting) == 1:
        return str(fitting[0].name)
    found_words = f"{named!r}, which is not there in {points} points" if named else "nothing"
    raise PatternError(
        "no_abscissa",
        f"{where}: what {node.name} was measured against is not said (its @axes names {found_words}); {option}. The "
        f"file holds {_listed(file)}",
    )


def _datasets(group: h5py.Group) -> list[h5py.Dataset]:
    found: list[h5py.Dataset] = []

    def visit(_: str, node: object) -> None:
        if isinstance(node, h5py.Dataset):
            found.append(node)

    with suppress(*H5_ERRORS):  # what can be listed of a damaged file is listed
        group.visititems(visit)
    return found


def _listed(file: h5py.File) -> str:
    """The datasets of a file in words, the largest first."""
    found = sorted(_datasets(file), key=lambda one: (-one.size, one.name))
    words = [f"{one.name} ({' × '.join(map(str, one.shape)) or 'one value'})" for one in found[:_SHOWN]]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return (", ".join(words) or "no datasets") + more


def read_vector(file: h5py.File, path: str, size: int | None = None) -> NDArray[np.float64]:
    """A dataset of numbers as one row."""
    values = np.asarray(file[path][()], dtype=np.float64).ravel()
    return values if size is None else values[:size]
