"""Reading configurations: YAML and overrides, checked key by key, with messages that say what was expected."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.errors import ConfigError

_ADAPTER = TypeAdapter(RunConfig)


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a YAML file and apply overrides of the form ``simulate.variants=50``.

    Raises
    ------
    ConfigError
        If the file cannot be read, a key is unknown, or a value has the wrong type or range.
    """
    return parse_config(_read_yaml(path), overrides, str(path))


def parse_config(raw: dict[str, Any], overrides: Sequence[str] = (), where: str = "configuration") -> RunConfig:
    """Validate raw values; ``where`` names them in messages."""
    merged = raw
    for override in overrides:
        merged = _overridden(merged, override)
    _refuse_unknown_keys(merged, RunConfig, where, "")
    try:
        return _ADAPTER.validate_python(merged)
    except ValidationError as error:
        raise ConfigError(f"{where}: " + "; ".join(_describe(item) for item in error.errors())) from error
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def plain(value: Any) -> Any:
    """Settings as what YAML and JSON hold: dictionaries, lists (sets sorted), strings and numbers."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"there is no configuration file {path}; see configs/run for examples") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} holds {type(raw).__name__}, expected keys and values such as `simulate:`")
    return raw


def _overridden(raw: dict[str, Any], override: str) -> dict[str, Any]:
    """A copy of the raw values with one ``a.b.c=value`` applied."""
    dotted, separator, text = override.partition("=")
    keys = [key.strip() for key in dotted.split(".")]
    if not separator or not all(keys):
        raise ConfigError(f"--set {override}: expected key=value, such as simulate.variants=50")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
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


def _refuse_unknown_keys(raw: Any, settings: Any, where: str, prefix: str) -> None:
    if not isinstance(raw, dict):
        return
    known = typing.get_type_hints(settings)
    for key, value in raw.items():
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known keys are {', '.join(known)}"
            raise ConfigError(f"{where}: unknown key {prefix}{key}; {hint}")
        nested = _dataclass_of(known[key])
        if nested is not None:
            if not isinstance(value, dict):
                raise ConfigError(
                    f"{where}: {prefix}{key}: found {value!r} ({type(value).__name__}), expected a section with the "
                    f"keys {', '.join(typing.get_type_hints(nested))}"
                )
            _refuse_unknown_keys(value, nested, where, f"{prefix}{key}.")


def _dataclass_of(hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next((found for found in map(_dataclass_of, typing.get_args(hint)) if found), None)
    return hint if dataclasses.is_dataclass(hint) else None


def _describe(item: Any) -> str:
    """One validation failure: the key, what was found, what was expected."""
    key = ".".join(str(part) for part in item["loc"])
    found = item["input"]
    return f"{key}: found {found!r} ({type(found).__name__}); {item['msg'][0].lower()}{item['msg'][1:]}"
