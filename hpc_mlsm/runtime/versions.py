"""Versions of what must be the same in the program and in its workers: what computes, and what travels in between."""

import pickle
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import hpc_mlsm

NEEDED = ("cloudpickle", "dask", "distributed", "h5py", "numba", "numpy")
OPTIONAL = ("xgboost",)
"""Compared where both sides have them."""


@cache
def own_versions() -> dict[str, str]:
    """Versions in this process, by name; empty for what is missing."""
    found = {
        "Python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "pickle protocol": str(pickle.HIGHEST_PROTOCOL),
        "hpc_mlsm": hpc_mlsm.__version__,
    }
    return found | {name: _installed(name) for name in (*NEEDED, *OPTIONAL)}


def differences(wanted: dict[str, str], found: dict[str, str]) -> list[str]:
    """What differs, in words: ``numpy 2.1.0 instead of 2.3.1``."""
    return [
        f"{name} {found.get(name) or 'missing'} instead of {needed or 'missing'}"
        for name, needed in wanted.items()
        if found.get(name, "") != needed and (name not in OPTIONAL or (needed and found.get(name)))
    ]


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
