"""Numbers, durations and units as people read them."""

import math

THIN = "\u202f"
"""Narrow no-break space, between a number and its unit and between groups of three digits."""

MINUS = "\u2212"
NOT_KNOWN = "–"

_UNITS = {
    "angstrom": "Å",
    "angstrom^2": "Å²",
    "angstrom^3": "Å³",
    "1/angstrom": "Å⁻¹",
    "1/angstrom^2": "Å⁻²",
    "1/angstrom^3": "Å⁻³",
    "a": "Å",
    "degree": "°",
    "degrees": "°",
    "deg": "°",
    "percent": "%",
    "": "",
    "1": "",
}
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def count(number: float) -> str:
    """A whole number with its digits in threes, such as "10 833"; numbers of four digits stay together."""
    text = f"{round(number):,}" if abs(number) >= 10_000 else str(round(number))
    return text.replace(",", THIN).replace("-", MINUS)


def plural(number: int, noun: str, several: str = "") -> str:
    """A count and what is counted: "1 structure", "437 structures", "2 classes"."""
    return f"{count(number)} {noun if number == 1 else several or noun + 's'}"


def percent(share: float) -> str:
    """A share as per cent with one decimal, such as "91.2 %"; only what is all or nothing reads 100 % or 0 %."""
    if not math.isfinite(share):
        return NOT_KNOWN
    value = 100 * share
    if 0 < value < 0.05:
        return f"<{THIN}0.1{THIN}%"
    if 99.95 <= value < 100:
        return f">{THIN}99.9{THIN}%"
    text = f"{value:.1f}".replace("-", MINUS) if value not in (0.0, 100.0) else f"{value:.0f}"
    return f"{text}{THIN}%"


def fixed(value: float, decimals: int = 3) -> str:
    """A number with so many decimals and a proper minus sign; a dash where there is none."""
    return f"{value:.{decimals}f}".replace("-", MINUS) if math.isfinite(value) else NOT_KNOWN


def rounded(value: float) -> str:
    """A number with three significant digits, such as 0.00512, 672 or 1.2 × 10⁻⁷."""
    if not math.isfinite(value):
        return NOT_KNOWN
    if 1000 <= abs(value) < 1e6:
        return count(value)
    mantissa, _, exponent = f"{value:.3g}".partition("e")
    mantissa = mantissa.replace("-", MINUS)
    return f"{mantissa}{THIN}×{THIN}10{str(int(exponent)).translate(_SUPERSCRIPTS)}" if exponent else mantissa


def with_uncertainty(value: float, uncertainty: float) -> str:
    """A value with its standard uncertainty in units of its last digit, such as "3.5247(1)"; "∞" for no limit.

    The uncertainty has one digit, or two where that would be a 1. Where it is not known, or 0, the value stands alone.
    """
    if math.isinf(value):
        return "∞"
    if not math.isfinite(value):
        return NOT_KNOWN
    if not (math.isfinite(uncertainty) and uncertainty > 0):
        return rounded(value)
    exponent = math.floor(math.log10(uncertainty))
    decimals = -exponent + (round(uncertainty / 10.0**exponent, 6) < 1.95)
    if decimals <= 0:
        return f"{round(value)}({round(uncertainty)})".replace("-", MINUS)
    return f"{value:.{decimals}f}({round(uncertainty * 10**decimals)})".replace("-", MINUS)


def unit(text: str) -> str:
    """A unit in print: "angstrom^2" → "Å²", "1/angstrom" → "Å⁻¹"; anything else stays as it is."""
    return _UNITS.get(text.strip().lower(), text)


def with_unit(number: str, unit_text: str) -> str:
    """A number that is already text, with its unit: "3.5238 Å" or "90°"."""
    symbol = unit(unit_text)
    return f"{number}{'' if symbol in ('', '°') else THIN}{symbol}"


def duration(seconds: float) -> str:
    """A time as people say it: "0.42 s", "48 s", "3 min 12 s", "2 h 5 min"."""
    if not math.isfinite(seconds):
        return NOT_KNOWN
    if seconds < 10:
        return f"{seconds:.2g}{THIN}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{THIN}s"
    if whole < 3600:
        return _pair(whole // 60, "min", whole % 60, "s")
    minutes = round(seconds / 60)
    return _pair(minutes // 60, "h", minutes % 60, "min")


def _pair(large: int, large_unit: str, small: int, small_unit: str) -> str:
    text = f"{count(large)}{THIN}{large_unit}"
    return f"{text} {small}{THIN}{small_unit}" if small else text
