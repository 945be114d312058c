"""Sizes and times in words, for tables and messages."""

import math


def duration(seconds: float) -> str:
    """A time for people: ``13 s``, ``9 min``, ``3.8 h``, ``2.5 d``; a dash for none."""
    if seconds < 1:
        return "< 1 s" if seconds > 0 else "–"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"


def size(number: float) -> str:
    """Bytes for people, in powers of 1000."""
    for unit, one in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if number >= one:
            return f"{number / one:.3g} {unit}" if number < 1000 * one else f"{number / one:.0f} {unit}"
    return f"{number / 1e3:.0f} kB"


def slurm_memory(number: float) -> str:
    """Bytes as Slurm has them, rounded up to GiB."""
    return f"{math.ceil(number / 2**30)}G"


def slurm_time(seconds: float) -> str:
    """Seconds as a walltime in quotes, rounded up to minutes."""
    days, minutes = divmod(math.ceil(seconds / 60), 1440)
    clock = f"{minutes // 60:02d}:{minutes % 60:02d}:00"
    return f'"{days}-{clock}"' if days else f'"{clock}"'
