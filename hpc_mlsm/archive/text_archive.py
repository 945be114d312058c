"""Archives of files: one pattern a file, in text or, of powder patterns, in the formats of diffractometers."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hpc_mlsm.archive.archive_settings import ArchiveSettings
from hpc_mlsm.archive.containers import HEADER_BYTES, Contents, contents, list_members
from hpc_mlsm.archive.folders import SUFFIXES
from hpc_mlsm.archive.frames import ArchiveIndex, ArchiveKind, Curves, FrameBlock, FrameReject
from hpc_mlsm.archive.pattern import Axis, Pattern
from hpc_mlsm.archive.powder_files import POWDER_SUFFIXES, scans_of
from hpc_mlsm.archive.readers import pattern_of_text
from hpc_mlsm.archive.text_rows import decode
from hpc_mlsm.archive.variables import find_variables
from hpc_mlsm.errors import PatternError

LOOKED_AT = 24
"""So many files, spread over the archive, are read to see what it holds."""

AXIS_OF_UNIT: dict[str, Axis] = {
    "angstrom": "r",
    "nm": "r",
    "degree": "two_theta",
    "1/angstrom": "q",
    "1/nm": "q",
}
_HEADER_KEYS = ("q_max", "y_unit", "wavelength", "wavelength_2", "wavelength_ratio", "x_label")
"""What frames must have in common, besides abscissa and unit, to be treated as one block."""


def suffixes_of(kind: ArchiveKind) -> frozenset[str]:
    """Endings of the files that are taken from a folder, or from a zip or tar file."""
    return POWDER_SUFFIXES if kind == "powder" else SUFFIXES


def index_text(
    paths: Sequence[Path],
    settings: ArchiveSettings,
    assumed: ArchiveKind | None = None,
    *,
    one_by_one: bool = False,
) -> ArchiveIndex:
    """The index of an archive of files, in folders or in one zip or tar file.

    Parameters
    ----------
    paths
        Folders and files, or one zip or tar file.
    settings
        What is known of it.
    assumed
        Kind to take where the files do not say theirs; None refuses these.
    one_by_one
        Whether each file is judged by itself, whatever the others are.

    Raises
    ------
    PatternError
        What ``list_members`` raises; "mixed_units" where files differ in abscissa or unit, "unknown_kind" where none
        says what it holds, and the first file's error where no file that was looked at can be read.
    """
    likely: ArchiveKind = "powder" if "powder" in (assumed, settings.kind) else "pdf"
    form, members, places = list_members(paths, suffixes_of(likely))
    source = str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    bare = ArchiveIndex(
        source, form, likely, len(members), None, None, members=members, places=places, shape=(len(members),)
    )
    with contents(bare) as read:
        axis, unit = (None, None) if one_by_one else _one_unit(bare, _look(bare, read), settings)
        variables = find_variables(members, lambda frame: _header(read, bare, frame), settings.variables)
    if settings.unit != "auto":
        axis, unit = AXIS_OF_UNIT[settings.unit], settings.unit
    kind = kind_of(axis, unit, settings, assumed, source)
    given = settings.unit != "auto"
    return replace(bare, kind=kind, axis=axis, unit=unit, unit_given=given, variables=variables)


def read_text(index: ArchiveIndex, frames: Iterable[int]) -> FrameBlock:
    """Read frames of a text archive; a file that cannot be used becomes a reject and stops no other."""
    groups: dict[tuple[object, ...], list[tuple[int, Pattern]]] = {}
    rejects: list[FrameReject] = []
    with contents(index) as read:
        for frame in frames:
            try:
                pattern = _in_unit(index, _pattern(read, index, frame))
            except PatternError as error:
                rejects.append(FrameReject.of(frame, error))
                continue
            groups.setdefault(_likeness(pattern), []).append((frame, pattern))
    curves = tuple(
        Curves(np.array([frame for frame, _ in own], dtype=np.int64), np.stack([one.y for _, one in own]), own[0][1])
        for own in groups.values()
    )
    return FrameBlock(curves, tuple(rejects))


def kind_of(
    axis: Axis | None, unit: str | None, settings: ArchiveSettings, assumed: ArchiveKind | None, source: str
) -> ArchiveKind:
    """What an abscissa and its unit make of an archive.

    Raises
    ------
    PatternError
        "unknown_kind" where they do not say it and the settings do not either.
    """
    if settings.kind != "auto":
        return settings.kind
    if axis == "r" or unit in ("angstrom", "nm"):
        return "pdf"
    if axis in ("two_theta", "q") or unit in ("degree", "1/angstrom", "1/nm"):
        return "powder"
    if assumed is not None:
        return assumed
    raise PatternError(
        "unknown_kind",
        f"{source}: neither units nor headers say whether these are PDFs or powder patterns; say it: "
        "predict.archive.kind = pdf, or powder",
    )


def _look(index: ArchiveIndex, read: Contents) -> list[Pattern]:
    """Patterns of some files, spread over the archive.

    Raises
    ------
    PatternError
        If none of these can be used.
    """
    chosen = np.unique(np.linspace(0, index.n_frames - 1, min(LOOKED_AT, index.n_frames)).astype(int))
    looked, first = [], None
    for frame in chosen:
        try:
            looked.append(_pattern(read, index, int(frame)))
        except PatternError as error:
            first = first or error
    if not looked and first is not None:
        raise PatternError(
            "unreadable", f"{index.source}: none of the {len(chosen)} files that were looked at can be used: {first}"
        )
    return looked


def _one_unit(
    index: ArchiveIndex, looked: Sequence[Pattern], settings: ArchiveSettings
) -> tuple[Axis | None, str | None]:
    found = {(one.axis, one.unit): one for one in looked}
    known = {key: one for key, one in found.items() if key != (None, None)}
    if len({_family(*key) for key in known}) > 1:
        first, second = list(known.values())[:2]
        raise PatternError(
            "mixed_units",
            f"{index.source}: two kinds of abscissa in one archive: {_words(first)} in {first.source}, "
            f"{_words(second)} in {second.source}; put them into archives of their own",
        )
    if known and (None, None) in found and settings.kind == "auto":
        first, silent = next(iter(known.values())), found[None, None]
        raise PatternError(
            "mixed_units",
            f"{index.source}: the abscissa is {_words(first)} in {first.source}, and {silent.source} does not say "
            "what its own is; put them into archives of their own, or say what all are: predict.archive.kind = pdf, or "
            "powder",
        )
    return max(known, key=lambda key: (key[1] is not None, key[0] is not None), default=(None, None))


def _family(axis: Axis | None, unit: str | None) -> tuple[str, str]:
    """Axis and unit, an unnamed unit being the usual one."""
    usual = {"r": "angstrom", "two_theta": "degree", "q": "1/angstrom"}
    name = axis or AXIS_OF_UNIT.get(unit or "") or ""
    return name, unit or usual.get(name, "")


def _words(pattern: Pattern) -> str:
    return " in ".join(filter(None, (pattern.axis, pattern.unit)))


def _in_unit(index: ArchiveIndex, pattern: Pattern) -> Pattern:
    """The pattern with the archive's axis and unit; refused where its own are others."""
    if index.unit_given:
        return replace(pattern, axis=index.axis, unit=index.unit)
    own, common = (pattern.axis, pattern.unit), (index.axis, index.unit)
    if (None, None) not in (own, common) and _family(*own) != _family(*common):
        wanted = " in ".join(_family(*common))
        raise PatternError(
            "other_unit",
            f"{pattern.source}: the abscissa is {_words(pattern)}, that of the archive {wanted}; "
            "put it into an archive of its own",
        )
    return pattern


def _pattern(read: Contents, index: ArchiveIndex, frame: int) -> Pattern:
    member = Path(index.members[frame])
    if index.kind == "pdf":
        return pattern_of_text(decode(read(frame), str(member)), member)
    scans = scans_of(read(frame), member)
    if len(scans) > 1:
        raise PatternError(
            "several_scans",
            f"{member}: the file holds {len(scans)} scans, one pattern a file is needed in an archive; name the file "
            "alone, or write its scans into files of their own",
        )
    return scans[0]


def _header(read: Contents, index: ArchiveIndex, frame: int) -> list[str]:
    try:
        return decode(read(frame, HEADER_BYTES), index.members[frame])[:400]
    except PatternError:
        return []


def _likeness(pattern: Pattern) -> tuple[object, ...]:
    common = tuple(pattern.metadata.get(key) for key in _HEADER_KEYS)
    return (pattern.x.tobytes(), pattern.axis, pattern.unit, *common)
