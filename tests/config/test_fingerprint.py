"""A fingerprint names exactly its inputs: the same in every process, another after any change."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from hpc_mlsm.config.fingerprint import fingerprint
from hpc_mlsm.config.load import parse_config
from hpc_mlsm.config.run_config import RunConfig

RAW = {
    "select": {"required": ["O", "Fe", "Sr", "Ti", "Ba"], "space_groups": [225, 2, 14, 62]},
    "predict": {"patterns": ["a.gr"], "filter": {"excluded": ["Cl", "Br", "I", "F"]}},
    "source": {"cif_folder": "/cifs"},
    "executor": {"workers": 2, "scratch": "/tmp", "memory_per_worker_mb": 500},
}


def test_it_is_the_same_in_every_process_whatever_the_hash_seed() -> None:
    code = (
        "from hpc_mlsm.config.fingerprint import fingerprint; from hpc_mlsm.config.load import parse_config; "
        f"print(fingerprint(parse_config({RAW!r}), {{'b', 'a', 'c'}}))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("0", "1", "12345")
    }
    assert seen == {fingerprint(parse_config(RAW), {"c", "a", "b"})}


FIXED = {("ForestSettings", "kind"), ("ExtraTreesSettings", "kind"), ("PaperCnnSettings", "network")}
"""Settings that can have one value only where they stand."""


def changes(value: Any) -> Iterator[Any]:
    """The same settings with one field after the other changed, at any depth."""
    for field in fields(value):
        old = getattr(value, field.name)
        if (type(value).__name__, field.name) in FIXED:
            continue
        if is_dataclass(old):
            for new in changes(old):
                yield replace(value, **{field.name: new})
        else:
            yield replace(value, **{field.name: other(field.name, old)})


def other(name: str, old: Any) -> Any:
    """A valid value that differs."""
    choices = {
        "engine": "diffpy",
        "linkage": "leader",
        "trees": "vector",
        "device": "cuda",
        "kind": "inline",
        "models": ("cnn",),
    }
    if name in choices:
        return choices[name]
    if isinstance(old, bool) or old is None:
        return not old
    if isinstance(old, int):
        return old + 1
    if isinstance(old, float):
        return old * 1.001 or 1e-9
    if name == "allowed":
        return old | {"Y"} if old else old | {"La"}
    if isinstance(old, frozenset):
        values = {"space_groups": 1, "chemistry": "organic", "systems": "cubic", "without": "retracted"}
        return old | {values.get(name, "La")}
    if isinstance(old, tuple) and old and isinstance(old[0], float):
        return (old[0], old[1] + 1e-9)
    if name == "one_of":
        return (*old, frozenset({"La"}))
    if isinstance(old, tuple):
        return (*old, Path("more.gr"))
    return type(old)(f"{old}x")


def test_it_changes_with_every_single_setting() -> None:
    config = parse_config(RAW)
    # "allowed" must hold what is required, and "max_atoms" is a number.
    config = replace(config, select=replace(config.select, allowed=config.select.required | {"La"}, max_atoms=9))
    changed = list(changes(config))
    assert len(changed) > 50
    assert len({fingerprint(one) for one in (config, *changed)}) == len(changed) + 1


@dataclass(frozen=True)
class Pair:
    first: Any
    second: Any


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (("ab", "c"), ("a", "bc")),
        ((["a"], "b"), ("a", ["b"])),
        ((1,), ("1",)),
        ((None,), ("None",)),
        ((), (None,)),
        ((Pair(1, 2),), (Pair(2, 1),)),
        (({"a": {2, 1}},), ({"a": {1, 3}},)),
    ],
)
def test_inputs_that_look_alike_have_different_fingerprints(one: tuple[Any, ...], two: tuple[Any, ...]) -> None:
    assert fingerprint(*one) != fingerprint(*two)


def test_what_means_the_same_has_the_same_fingerprint() -> None:
    assert fingerprint({"b": 1, "a": (1, 2)}, Path("x")) == fingerprint({"a": [1, 2], "b": 1}, "x")
    assert fingerprint(parse_config({"simulate": {"strain": 0}})) == fingerprint(
        parse_config({"simulate": {"strain": 0.0}})
    )
    assert fingerprint(RunConfig()) == fingerprint(parse_config({}))
