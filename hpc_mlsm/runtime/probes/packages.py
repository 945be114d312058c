"""Versions of Python and of the packages, against what this project needs, and of one node against another."""

import configparser
import importlib.metadata
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hpc_mlsm.runtime.probes.finding import Finding

PROJECT = "hpc_mlsm"
MATTERS = ("dask", "distributed", "numpy", "xgboost", "h5py", "hpc_mlsm", "tensorflow", "mpi4py", "cryptography")
"""Packages that scheduler, workers and files must agree about, or that change results."""

_SETUP = Path(__file__).resolve().parents[3] / "setup.cfg"


@dataclass(frozen=True)
class Needs:
    """What the project asks for: of Python, of packages always, and of packages by extra."""

    python: str
    packages: tuple[str, ...]
    extras: dict[str, tuple[str, ...]]


def needs(setup: Path = _SETUP) -> Needs:
    """Read from ``setup.cfg`` beside the package, or from what the installation kept of it."""
    if setup.is_file():
        parser = configparser.ConfigParser()
        parser.read(setup, encoding="utf-8")
        if parser.get("metadata", "name", fallback="") == PROJECT:
            options, extras = parser["options"], parser["options.extras_require"]
            names = {name: _lines(text) for name, text in extras.items()}
            return Needs(options["python_requires"], _lines(options["install_requires"]), names)
    return _from_metadata()


def versions(names: Iterable[str]) -> dict[str, str]:
    """Installed versions of those packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def this_environment() -> dict[str, str]:
    """Versions of Python and of every package that the project may use, here."""
    wanted = needs()
    texts = [*wanted.packages, *(text for some in wanted.extras.values() for text in some)]
    return {"python": platform.python_version()} | versions({_name(text) for text in texts} | set(MATTERS))


def check_packages(where: str, have: dict[str, str], extras: Iterable[str], wanted: Needs | None = None) -> Finding:
    """What is missing or too old, of what the project and these extras need."""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    wanted = wanted or needs()
    chosen = [(text, "") for text in wanted.packages]
    chosen += [(text, extra) for extra in extras for text in wanted.extras.get(extra, ())]
    wrong, install = [], set()
    if have["python"] not in SpecifierSet(wanted.python):
        return Finding(
            "python and packages",
            where,
            "failure",
            f"Python {have['python']}, needed is {wanted.python}",
            "make the environment with another Python, and name it in activate: of the profile",
        )
    for text, extra in chosen:
        one = Requirement(text)
        found = have.get(one.name)
        if found is None or not one.specifier.contains(found, prereleases=True):
            wrong.append(f"{one.name} {found or 'is missing'} (needed {one.specifier or 'any'})")
            install.add(extra)
    if wrong:
        names = ",".join(sorted(install - {""}))
        return Finding(
            "python and packages",
            where,
            "failure",
            "; ".join(wrong),
            f'pip install "{PROJECT}{f"[{names}]" if names else ""}" in the environment that jobs use',
        )
    shown = ", ".join(f"{name} {have[name]}" for name in ("dask", "numpy", "xgboost") if name in have)
    return Finding("python and packages", where, "ok", f"Python {have['python']}, {shown}; {len(chosen)} met")


def compare_packages(where: str, here: dict[str, str], there: dict[str, str]) -> Finding:
    """Versions on a compute node (``there``) that differ from those on the login node."""
    names = ["python", *sorted((here.keys() | there.keys()) - {"python"})]
    differ = [name for name in names if here.get(name) != there.get(name)]
    words = [f"{name} {there.get(name, 'missing')}, here {here.get(name, 'missing')}" for name in differ]
    if not differ:
        return Finding("same versions as here", where, "ok", f"{len(there)} packages agree")
    serious = any(name in MATTERS or name == "python" for name in differ)
    return Finding(
        "same versions as here",
        where,
        "failure" if serious else "warning",
        "; ".join(words[:6]) + (f" and {len(words) - 6} more" if len(words) > 6 else ""),
        "let jobs use the environment that submits (activate: of the profile), or make them alike",
    )


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _name(text: str) -> str:
    from packaging.requirements import Requirement

    return Requirement(text).name


def _from_metadata() -> Needs:
    from packaging.requirements import Requirement

    try:
        kept = importlib.metadata.metadata(PROJECT)
    except importlib.metadata.PackageNotFoundError:
        return Needs(">=3.11", (), {})
    always: list[str] = []
    extras: dict[str, list[str]] = {}
    for text in kept.get_all("Requires-Dist") or []:
        one = Requirement(text)
        bare = f"{one.name}{one.specifier}"
        if one.marker is None:
            always.append(bare)
            continue
        for extra in kept.get_all("Provides-Extra") or []:
            if one.marker.evaluate({"extra": extra}):
                extras.setdefault(extra, []).append(bare)
    python = kept["Requires-Python"] or ">=3.11"
    return Needs(python, tuple(always), {name: tuple(some) for name, some in extras.items()})
