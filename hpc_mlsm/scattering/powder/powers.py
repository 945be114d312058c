"""A power function that the compiler can vectorise, which it cannot do with the library's own."""

import numba
import numpy as np

_POINTS = np.cos(np.pi * (np.arange(64) + 0.5) / 64)


def _fit(function, degree: int) -> tuple[np.float32, ...]:  # type: ignore[no-untyped-def]
    """Coefficients, lowest first, of a polynomial in t on [0, 1], nearly the best of its degree."""
    fitted = np.polynomial.Chebyshev.fit(0.5 + 0.5 * _POINTS, function(0.5 + 0.5 * _POINTS), degree, domain=[0, 1])
    return tuple(np.float32(c) for c in fitted.convert(kind=np.polynomial.Polynomial).coef)


_LOG = _fit(lambda t: np.log2(1 + t) / t, 7)
_EXP = _fit(np.exp2, 5)


@numba.njit(cache=True, nogil=True, fastmath=True, inline="always")
def negative_power(base, exponent):  # type: ignore[no-untyped-def]
    """base ** -exponent for a base of at least 1, in single precision, right to 1e-6 (exponent + 1) or 1e-30."""
    one = np.float32(1)
    bits = np.float32(base).view(np.int32)
    t = np.int32((bits & 0x7FFFFF) | 0x3F800000).view(np.float32) - one
    log = _LOG[7]
    log = log * t + _LOG[6]
    log = log * t + _LOG[5]
    log = log * t + _LOG[4]
    log = log * t + _LOG[3]
    log = log * t + _LOG[2]
    log = log * t + _LOG[1]
    log = (log * t + _LOG[0]) * t + np.float32((bits >> 23) - 127)
    power = max(-exponent * log, np.float32(-100))
    whole = np.floor(power)
    t = power - whole
    result = _EXP[5]
    result = result * t + _EXP[4]
    result = result * t + _EXP[3]
    result = result * t + _EXP[2]
    result = result * t + _EXP[1]
    result = result * t + _EXP[0]
    return result * np.int32((np.int32(whole) + 127) << 23).view(np.float32)
