"""Walltimes, memory and options as Slurm writes them."""

import re

from hpc_mlsm.errors import ConfigError

_WALLTIME = re.compile(r"(?:(?P<d>\d+)-)?(?P<h>\d{1,3}):(?P<m>[0-5]?\d):(?P<s>[0-5]?\d)")
MEMORY = re.compile(r"[1-9]\d*[MGT]")


def seconds(walltime: str) -> int:
    """Seconds of a walltime such as ``12:00:00`` or ``2-00:00:00``.

    Raises
    ------
    ConfigError
        If it is written in another way.
    """
    match = _WALLTIME.fullmatch(walltime)
    if match is None:
        raise ConfigError(f'walltime: found {walltime!r}; expected hours:minutes:seconds in quotes, such as "12:00:00"')
    days, hours, minutes, rest = (int(match[part] or 0) for part in "dhms")
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def memory_bytes(memory: str) -> int:
    """Bytes of a memory as Slurm writes it: ``900M`` and ``16G`` count in powers of 1024."""
    return int(memory[:-1]) * 1024 ** ("MGT".index(memory[-1]) + 2)


def refuse_odd_text(settings: object, single: tuple[str, ...], several: tuple[str, ...]) -> None:
    """Texts that would become other lines of a script, or nothing, are mistakes: a ConfigError with the key."""
    texts = [(key, getattr(settings, key)) for key in single]
    texts += [(key, text) for key in several for text in getattr(settings, key)]
    for key, text in texts:
        if text is not None and (not text.strip() or not text.isprintable()):
            raise ConfigError(f"{key}: found {text!r}; expected text on one line")
    for text in getattr(settings, "options", ()):
        if not re.fullmatch(r"--[a-z][a-z-]*(=.*)?", text):
            raise ConfigError(f"options: found {text!r}; expected an option of sbatch such as --reservation=beamtime")
