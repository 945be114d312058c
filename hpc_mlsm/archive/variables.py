"""Variables of an in situ series from the names and headers of its files."""

import re
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.archive.archive_settings import VariableSettings
from hpc_mlsm.archive.frames import Variable
from hpc_mlsm.archive.headers import read_metadata
from hpc_mlsm.errors import ConfigError

_NUMBER = r"([-+]?\d+(?:\.\d+)?)"
_COMMON = (
    ("temperature", "K", re.compile(rf"(?<![0-9A-Za-z.]){_NUMBER}\.?K(?![A-Za-z0-9])")),
    ("temperature", "°C", re.compile(rf"(?<![0-9A-Za-z.]){_NUMBER}(?:°C|degC|C)(?![A-Za-z0-9])")),
    ("time", "s", re.compile(rf"(?<![0-9A-Za-z.]){_NUMBER}(?:s|sec)(?![A-Za-z0-9])")),
    ("time", "min", re.compile(rf"(?<![0-9A-Za-z.]){_NUMBER}min(?![A-Za-z0-9])")),
)
Header = Callable[[int], list[str]]
"""Gives the header lines of a frame."""


def find_variables(members: Sequence[str], header: Header, asked: Sequence[VariableSettings]) -> tuple[Variable, ...]:
    """Variables of files: those asked for, else what their names and headers commonly hold.

    Raises
    ------
    ConfigError
        If a pattern that was asked for is found in no file; shows a name that it was looked for in.
    """
    if not asked:
        return _common(members, header)
    return tuple(_asked(settings, members, header) for settings in asked)


def _asked(settings: VariableSettings, members: Sequence[str], header: Header) -> Variable:
    name = settings.name
    pattern = re.compile(settings.pattern)
    values = np.full(len(members), np.nan)
    for frame, member in enumerate(members):
        text = member if settings.where == "path" else PurePosixPath(member).name
        if settings.where == "header":
            text = "\n".join(header(frame))
        if found := pattern.search(text):
            values[frame] = _number(found[1], settings, text)
    if np.isnan(values).all():
        raise ConfigError(
            f"variable {name}: the pattern {settings.pattern!r} is in the {settings.where} of none of the "
            f"{len(members)} files, such as {members[0]!r}; correct it"
        )
    return Variable(name, settings.unit, values)


def _number(text: str, settings: VariableSettings, where: str) -> float:
    try:
        return float(text.replace(",", "."))
    except ValueError as error:
        raise ConfigError(
            f"variable {settings.name}: the group of {settings.pattern!r} holds {text!r} in {where[:120]!r}, which is "
            "no number; put the group around the number alone"
        ) from error


def _common(members: Sequence[str], header: Header) -> tuple[Variable, ...]:
    found: dict[str, Variable] = {}
    for name, unit, pattern in _COMMON:
        values = _of_names(members, pattern)
        if name not in found and values is not None:
            found[name] = Variable(name, unit, values)
    if "temperature" not in found and "temperature" in read_metadata(header(0)):
        values = np.array([_temperature(header(frame)) for frame in range(len(members))])
        found["temperature"] = Variable("temperature", "K", values)
    return tuple(found.values())


def _of_names(members: Sequence[str], pattern: re.Pattern[str]) -> NDArray[np.float64] | None:
    """Numbers from the names, if most names have one."""
    values = np.full(len(members), np.nan)
    for frame, member in enumerate(members):
        if found := pattern.search(PurePosixPath(member).stem.replace("_", " ")):
            values[frame] = float(found[1])
    return values if np.isfinite(values).sum() > len(values) / 2 else None


def _temperature(lines: list[str]) -> float:
    value = read_metadata(lines).get("temperature", np.nan)
    return float(value) if isinstance(value, float) else float("nan")
