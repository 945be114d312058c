"""What a user may have to say of an archive, because its files do not."""

import re
from dataclasses import dataclass
from typing import Literal

from hpc_mlsm.errors import ConfigError


@dataclass(frozen=True)
class VariableSettings:
    """Where a variable of the frames (time, temperature, …) is found.

    Attributes
    ----------
    name
        What it is called from then on.
    pattern
        Regular expression with one group, which holds the number: ``_([0-9.]+)K``.
    unit
        Kept with the numbers, such as ``K`` or ``s``.
    where
        ``name`` of the file, its ``path`` within the archive, or its ``header``.
    """

    name: str
    pattern: str
    unit: str = ""
    where: Literal["name", "path", "header"] = "name"

    def __post_init__(self) -> None:
        try:
            groups = re.compile(self.pattern).groups
        except re.error as error:
            raise ConfigError(f"pattern {self.pattern!r} is no regular expression: {error}") from error
        if groups != 1:
            raise ConfigError(
                f"pattern {self.pattern!r} has {groups} groups; exactly one is needed, around the number: _([0-9.]+)K"
            )


@dataclass(frozen=True)
class ArchiveSettings:
    """What is known of an archive of measured patterns.

    Attributes
    ----------
    kind
        ``pdf`` or ``powder``; ``auto`` reads it from units and headers, and refuses where these do not say it.
    abscissa
        Path of the dataset with the abscissa, for HDF5 stacks whose attributes do not name it.
    unit
        Unit of the abscissa where the files do not say it, or say it wrongly.
    variables
        Without any, ``temperature`` and ``time`` are looked for in the names of the files (``…_150K``,
        ``…_30s``), and ``temperature`` in their headers.
    """

    kind: Literal["auto", "pdf", "powder"] = "auto"
    abscissa: str = ""
    unit: Literal["auto", "angstrom", "nm", "degree", "1/angstrom", "1/nm"] = "auto"
    variables: tuple[VariableSettings, ...] = ()
