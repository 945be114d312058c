"""Reading configurations: YAML and overrides, checked key by key, with messages that say what was expected."""

import dataclasses
import difflib
import math
import reprlib
import types
import typing
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.config.yaml_text import parse_value, read_yaml
from hpc_mlsm.errors import ConfigError

S = typing.TypeVar("S")

_EXPECTED = {
    "bool": "true or false",
    "float": "a number",
    "frozen_set": "a list, such as [first, second]",
    "int": "a whole number",
    "path": "the path of a file or folder",
    "string_type": "text; put it in quotes",
    "tuple": "a list, such as [first, second]",
    "missing": "more values",
    "too_long": "fewer values",
}
"""What was expected, by the beginning of pydantic's error types; its own words are those of Python."""


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a YAML file and apply overrides of the form ``simulate.variants=50``.

    Raises
    ------
    ConfigError
        If the file cannot be read, a key is unknown, or a value has the wrong type or range.
    """
    return parse_config(read_yaml(path), overrides, str(path))


def parse_config(raw: dict[str, Any], overrides: Sequence[str] = (), where: str = "configuration") -> RunConfig:
    """Validate raw values; ``where`` names them in messages.

    Raises
    ------
    ConfigError
        Names every key that is unknown or has a value of the wrong type or range.
    """
    merged = raw
    for override in overrides:
        merged = _overridden(merged, override)
    return parse_settings(merged, RunConfig, where)


def parse_settings(raw: dict[str, Any], settings: type[S], where: str) -> S:
    """Raw values as a settings dataclass, its sections too; ``where`` names them in messages.

    Raises
    ------
    ConfigError
        Names every key that is unknown or has a value of the wrong type or range.
    """
    problems: list[str] = []
    built = _section(raw, settings, "", problems)
    if problems:
        raise ConfigError(f"{where}: " + "; ".join(problems))
    return typing.cast(S, built)


def plain(value: Any) -> Any:
    """Settings as what YAML and JSON hold: dictionaries, lists (sets sorted), strings and numbers."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _overridden(raw: dict[str, Any], override: str) -> dict[str, Any]:
    """A copy of the raw values with one ``a.b.c=value`` applied."""
    dotted, separator, text = override.partition("=")
    keys = [key.strip() for key in dotted.split(".")]
    if not separator or not all(keys):
        raise ConfigError(f"--set {override}: expected key=value, such as simulate.variants=50")
    try:
        value = parse_value(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"--set {override}: the value is not valid YAML") from error
    result = dict(raw)
    level = result
    for key in keys[:-1]:
        deeper = level.get(key)
        if deeper is not None and not isinstance(deeper, dict):
            raise ConfigError(f"--set {override}: {key} is a single value and has no keys of its own")
        level[key] = dict(deeper or {})
        level = level[key]
    level[keys[-1]] = value
    return result


def _section(raw: Any, settings: Any, path: str, problems: list[str]) -> Any:
    """One settings dataclass from raw values, its sections first; what is wrong goes into ``problems``."""
    hints = typing.get_type_hints(settings)
    if raw is None:  # a heading in a YAML file with nothing below it
        raw = {}
    if not isinstance(raw, dict):
        problems.append(f"{path}: found {_shown(raw)}; expected a section with the keys {', '.join(hints)}")
        return None
    faults = len(problems)
    values = {}
    for key, value in raw.items():
        own = f"{path}.{key}" if path else str(key)
        before = len(problems)
        if key not in hints:
            problems.append(_unknown(own, str(key), list(hints)))
        elif value is None and type(None) in _leaves(hints[key]):
            pass  # a section that may be left out
        elif (nested := _dataclass_of(hints[key], value)) is not None:
            value = _section(value, nested, own, problems)
        else:
            problems += _wrong_numbers(value, hints[key], own)
        if len(problems) == before:
            values[key] = value
    try:
        built = _adapter(settings).validate_python(values)
    except ValidationError as error:
        problems += [_describe(item, path) for item in error.errors()]
    except ConfigError as error:
        # From a check of several values together, which does not know where in the configuration they stand, and
        # means nothing where one of them is wrong already.
        if len(problems) == faults:
            problems.append(_placed(str(error), path, list(hints)))
    return built if len(problems) == faults else None


def _placed(said: str, path: str, keys: list[str]) -> str:
    """A message with the place in the configuration before it: ``u_iso = …`` becomes ``simulate.u_iso = …``."""
    if not path:
        return said
    begins_with_key = said.split()[0].rstrip(":") in keys
    return f"{path}.{said}" if begins_with_key else f"{path}: {said}"


@lru_cache
def _adapter(settings: Any) -> TypeAdapter[Any]:
    return TypeAdapter(settings)


def _unknown(path: str, key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known keys are {', '.join(known)}"
    return f"unknown key {path}; {hint}"


def _wrong_numbers(value: Any, hint: Any, path: str) -> Iterator[str]:
    """Values that Python takes for numbers and people do not: true, false, infinity and NaN."""
    if isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _wrong_numbers(item, hint, path)
    elif isinstance(value, bool) and bool not in _leaves(hint):
        yield f"{path}: found {_shown(value)}; expected {_words(hint)}"
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{path}: found {_shown(value)}; expected a finite number"


def _leaves(hint: Any) -> set[Any]:
    """The types that a type hint is made of."""
    inner = typing.get_args(hint)
    return set().union(*map(_leaves, inner)) if inner else {hint}


def _words(hint: Any) -> str:
    leaves = _leaves(hint)
    return "a whole number" if int in leaves else "a number" if float in leaves else "text"


def _dataclass_of(hint: Any, value: Any) -> Any:
    """The settings that a section is made of; of several, those whose ``kind`` the section names, or the first."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        found = [one for one in (_dataclass_of(part, value) for part in typing.get_args(hint)) if one]
        kind = value.get("kind") if isinstance(value, dict) else None
        named = (one for one in found if kind is not None and getattr(one, "kind", None) == kind)
        return next(named, found[0] if found else None)
    return hint if dataclasses.is_dataclass(hint) else None


def _describe(item: Any, path: str) -> str:
    """One validation failure: the key, what was found, what was expected."""
    names = [part for part in (path, *item["loc"]) if isinstance(part, str) and part]
    said = item["msg"].removeprefix("Input ")
    expected = (f"expected {words}" for kind, words in _EXPECTED.items() if item["type"].startswith(kind))
    return f"{'.'.join(names)}: found {_shown(item['input'])}; {next(expected, said[0].lower() + said[1:])}"


def _shown(value: Any) -> str:
    shown = {True: "true", False: "false"}[value] if isinstance(value, bool) else reprlib.repr(value)
    return f"{shown} ({type(value).__name__})"
