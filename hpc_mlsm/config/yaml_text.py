"""YAML as people write configurations: ``1e-3`` is a number, and a key that is given twice is a mistake."""

import re
from pathlib import Path
from typing import Any

import yaml

from hpc_mlsm.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """Reads plain values only, as SafeLoader does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Keys and values; YAML forbids the same key twice, but PyYAML would let the last one win in silence."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is given twice", key.start_mark
                )
            seen.add(key.value)
        return dict(super().construct_mapping(node, deep=deep))


# YAML 1.1 asks for a point and a signed exponent in a number, so that 1e-3 would be a text.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def parse_value(text: str) -> Any:
    """One value, as after ``--set key=``.

    Raises
    ------
    yaml.YAMLError
        If the text is not valid YAML.
    """
    return yaml.load(text, Loader=_Loader)


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys and values of a configuration file; an empty file has none.

    Raises
    ------
    ConfigError
        If the file is missing or unreadable, is not YAML, or holds something else than keys and values.
    """
    try:
        raw = parse_value(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"there is no configuration file {path}; see configs/run for examples") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} holds {type(raw).__name__}, expected keys and values such as `simulate:`")
    return raw
