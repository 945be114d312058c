"""The reader of measured powder patterns: what a file is, is told by its content, not by its name."""

from collections.abc import Iterable
from pathlib import Path

from hpc_mlsm.archive import bruker_raw
from hpc_mlsm.archive.brml import read_brml
from hpc_mlsm.archive.bruker_raw import read_bruker_raw
from hpc_mlsm.archive.gsas import is_gsas, read_gsas
from hpc_mlsm.archive.pattern import Pattern, PatternReject
from hpc_mlsm.archive.readers import bytes_of, pattern_of_text
from hpc_mlsm.archive.text_rows import decode
from hpc_mlsm.archive.xrdml import is_xrdml, read_xrdml
from hpc_mlsm.errors import PatternError

POWDER_SUFFIXES = frozenset(
    {".xy", ".xye", ".dat", ".txt", ".csv", ".gsa", ".gsas", ".fxye", ".gda", ".esd", ".std", ".xrdml", ".raw", ".brml"}
)
"""Files with these suffixes are taken from a folder of powder patterns."""


def read_powder(path: Path | str) -> list[Pattern]:
    """All scans of a file: text in columns, GSAS, XRDML, Bruker RAW (versions 1 to 4) or BRML.

    What the file says of its wavelength is in the metadata: ``wavelength`` (Kα1 where it names lines),
    ``wavelength_2`` and ``wavelength_ratio`` (Kα2), in Å.

    Raises
    ------
    PatternError
        With file and cause; reasons as in ``read_pattern``, and "truncated", "damaged", "unsupported", "wrong_axis"
        or "detector_frames".
    """
    path = Path(path)
    return scans_of(bytes_of(path), path)


def scans_of(content: bytes, path: Path) -> list[Pattern]:
    """All scans in the content of a file; see ``read_powder``."""
    if content.startswith(bruker_raw.MAGIC):
        return read_bruker_raw(content, path)
    if content.startswith(b"PK"):
        return read_brml(content, path)
    if is_xrdml(content):
        return read_xrdml(content, path)
    lines = decode(content, str(path))
    if is_gsas(lines):
        return read_gsas(lines, path)
    if lines[0].lstrip().startswith("<"):
        raise PatternError("unsupported", f"{path}: XML of an unknown kind; XRDML can be read, or export it as .xy")
    return [pattern_of_text(lines, path)]


def read_powder_files(paths: Iterable[Path]) -> tuple[list[Pattern], list[PatternReject]]:
    """Scans of many files; a file that cannot be used becomes a row of rejects and stops no other."""
    patterns: list[Pattern] = []
    rejects: list[PatternReject] = []
    for path in paths:
        try:
            patterns += read_powder(path)
        except PatternError as error:
            rejects.append(PatternReject.from_error(Path(path).stem, str(path), error))
    return patterns, rejects
