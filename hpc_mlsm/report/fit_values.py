"""The values that a fit found, in the order and to the digits in which they are read."""

import math

from markupsafe import Markup

from hpc_mlsm.report.content import CandidateFit
from hpc_mlsm.report.notation import parameter_html
from hpc_mlsm.report.quantities import fixed, rounded, with_uncertainty, with_unit

NEGLIGIBLE = 1e-6
"""A fit that ran into the bound 0 ends this close to it."""

_LENGTHS = ("a", "b", "c")


def fitted_values(fit: CandidateFit) -> list[tuple[Markup, str]]:
    """(name, value with uncertainty and unit) of each parameter; equal cell lengths share a line: a = b."""
    lines: dict[object, tuple[list[Markup], str]] = {}
    for name, (value, unit) in fit.parameters.items():
        is_length = name in _LENGTHS
        text = with_unit(_number(value, fit.uncertainties.get(name, math.nan), is_length), unit)
        key = ("cell", text) if is_length else name
        lines.setdefault(key, ([], text))[0].append(parameter_html(name))
    return [(Markup(" = ").join(names), text) for names, text in lines.values()]


def _number(value: float, uncertainty: float, is_length: bool) -> str:
    if math.isfinite(uncertainty) and uncertainty > 0:
        return with_uncertainty(value, uncertainty)
    return fixed(value, 4) if is_length else rounded(value if abs(value) >= NEGLIGIBLE else 0.0)
