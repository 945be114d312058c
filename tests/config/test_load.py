"""Configurations are read as written, or refused with the key, what was found and what was expected."""

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpc_mlsm.config.load import load_config, parse_config, plain
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.errors import ConfigError


def message(raw: dict[str, Any], *overrides: str) -> str:
    """What is said when the configuration is refused."""
    with pytest.raises(ConfigError) as caught:
        parse_config(raw, overrides, "run.yaml")
    return str(caught.value)


def test_an_empty_configuration_is_the_defaults() -> None:
    assert parse_config({}) == RunConfig()


def test_an_empty_section_is_the_defaults_of_the_section() -> None:
    assert parse_config({"simulate": None, "train": {"boosted": None}}) == RunConfig()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"simulat": {}}, "unknown key simulat; did you mean simulate?"),
        ({"simulate": {"varians": 3}}, "unknown key simulate.varians; did you mean variants?"),
        ({"simulate": {"grid": {"rmax": 3}}}, "unknown key simulate.grid.rmax; did you mean r_max?"),
        ({"train": {"boosted": {"depth": 3}}}, "unknown key train.boosted.depth; did you mean max_depth?"),
        ({"predict": {"zzz": 3}}, "unknown key predict.zzz; known keys are patterns, samples, "),
        ({"simulate": {3: 3}}, "unknown key simulate.3;"),
    ],
)
def test_an_unknown_key_is_refused_with_a_suggestion(raw: dict[str, Any], words: str) -> None:
    assert words in message(raw)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"simulate": {"variants": "many"}}, "simulate.variants: found 'many' (str); expected a whole number"),
        ({"simulate": {"variants": 50.5}}, "simulate.variants: found 50.5 (float); expected a whole number"),
        ({"simulate": {"variants": None}}, "simulate.variants: found None (NoneType); expected a whole number"),
        ({"simulate": {"variants": 0}}, "simulate.variants: found 0 (int); should be greater than or equal to 1"),
        ({"simulate": {"strain": "a lot"}}, "simulate.strain: found 'a lot' (str); expected a number"),
        ({"simulate": {"engine": "nativ"}}, "simulate.engine: found 'nativ' (str); should be 'native', 'pdffit2'"),
        ({"simulate": {"grid": 5}}, "simulate.grid: found 5 (int); expected a section with the keys r_min, r_max"),
        ({"simulate": {"grid": {"r_max": -1}}}, "simulate.grid.r_max: found -1 (int); should be greater than 0"),
        ({"simulate": {"u_iso": [0.01]}}, "simulate.u_iso: found [0.01] (list); expected more values"),
        ({"simulate": {"u_iso": [1, 2, 3]}}, "simulate.u_iso: found [1, 2, 3] (list); expected fewer values"),
        ({"source": {"starter": "perhaps"}}, "source.starter: found 'perhaps' (str); expected true or false"),
        ({"source": {"cif_folder": 5}}, "source.cif_folder: found 5 (int); expected the path"),
        ({"select": {"required": "Fe"}}, "select.required: found 'Fe' (str); expected a list"),
        ({"predict": {"patterns": "a.gr"}}, "predict.patterns: found 'a.gr' (str); expected a list"),
        ({"train": {"boosted": {"max_bin": 2000}}}, "train.boosted.max_bin: found 2000 (int); should be less than"),
        ({"executor": {"workers": 0}}, "executor.workers: found 0 (int); should be greater than"),
        ({"name": 5}, "name: found 5 (int); expected text"),
        ({"name": ""}, "name: found '' (str); string should have at least 1 character"),
    ],
)
def test_a_wrong_value_is_refused_with_what_was_found_and_expected(raw: dict[str, Any], words: str) -> None:
    assert f"run.yaml: {words}" in message(raw)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"simulate": {"variants": True}}, "simulate.variants: found true (bool); expected a whole number"),
        ({"simulate": {"strain": False}}, "simulate.strain: found false (bool); expected a number"),
        ({"simulate": {"u_iso": [True, 0.01]}}, "simulate.u_iso: found true (bool); expected a number"),
        ({"executor": {"workers": True}}, "executor.workers: found true (bool); expected a whole number"),
        ({"select": {"space_groups": [True]}}, "select.space_groups: found true (bool); expected a whole number"),
        ({"name": True}, "name: found true (bool); expected text"),
        ({"simulate": {"strain": math.nan}}, "simulate.strain: found nan (float); expected a finite number"),
        ({"simulate": {"q_max": [20, math.inf]}}, "simulate.q_max: found inf (float); expected a finite number"),
    ],
)
def test_what_is_no_number_for_people_is_none_here(raw: dict[str, Any], words: str) -> None:
    assert message(raw) == f"run.yaml: {words}"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"simulate": {"grid": {"r_min": 5, "r_max": 4}}}, "simulate.grid.r_max = 4.0 Å must be larger than r_min"),
        ({"simulate": {"u_iso": [0.03, 0.01]}}, "simulate.u_iso = "),
        ({"source": {"starter": False}}, "source: there are no structures; set cif_folder"),
        ({"split": {"validation": 0.5, "test": 0.5}}, "split.validation = 0.5 and test = 0.5 leave nothing"),
        ({"select": {"required": ["Xx"]}}, "select.required: 'Xx' is no element"),
        ({"predict": {"filter": {"required": ["Fe"], "excluded": ["Fe"]}}}, "predict.filter: Fe is required"),
        ({"name": "../elsewhere"}, "name: found '../elsewhere'"),
        ({"name": ".."}, "name: found '..'"),
    ],
)
def test_values_that_contradict_each_other_are_refused_with_their_place(raw: dict[str, Any], words: str) -> None:
    assert message(raw).startswith(f"run.yaml: {words}")


def test_all_mistakes_are_named_at_once() -> None:
    said = message({"simulate": {"variants": "many", "grid": {"r_step": 0}}, "split": {"test": 2}, "grup": {}})
    for key in ("simulate.grid.r_step:", "simulate.variants:", "split.test:", "unknown key grup;"):
        assert key in said


def test_values_are_not_compared_with_each_other_where_one_is_wrong_already() -> None:
    said = message({"simulate": {"variants": "many", "q_max": 0.1}})
    assert said == "run.yaml: simulate.variants: found 'many' (str); expected a whole number"


def test_a_long_value_is_not_repeated_in_full() -> None:
    assert len(message({"simulate": {"strain": "x" * 10_000}})) < 200


def test_a_single_number_is_a_range_that_does_not_vary() -> None:
    assert parse_config({"simulate": {"u_iso": 0.01, "q_max": 22}}).simulate.u_iso == (0.01, 0.01)
    assert parse_config({"simulate": {"q_max": 22}}).simulate.q_max == (22.0, 22.0)


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("simulate.variants=7", "simulate.variants", 7),
        (" simulate.variants = 7", "simulate.variants", 7),
        ("simulate.grid.r_max=20", "simulate.grid.r_max", 20.0),
        ("simulate.u_iso=[0.01, 0.02]", "simulate.u_iso", (0.01, 0.02)),
        ("simulate.u_iso=1e-2", "simulate.u_iso", (0.01, 0.01)),
        ("simulate={variants: 5}", "simulate.variants", 5),
        ("train.boosted.learning_rate=1e-1", "train.boosted.learning_rate", 0.1),
        ("predict.patterns=[a.gr, /b/c]", "predict.patterns", (Path("a.gr"), Path("/b/c"))),
        ("predict.filter.required=[Fe, O]", "predict.filter.required", frozenset({"Fe", "O"})),
        ("source.cif_folder=/cifs", "source.cif_folder", Path("/cifs")),
        ("executor.workers=null", "executor.workers", None),
        ("name=a=b", "name", "a=b"),
    ],
)
def test_an_override_sets_one_value(override: str, path: str, value: object) -> None:
    found: Any = parse_config({"simulate": {"strain": 0.01}}, [override])
    for key in path.split("."):
        found = getattr(found, key)
    assert found == value


def test_later_overrides_win_and_the_raw_values_stay() -> None:
    raw = {"simulate": {"variants": 20, "grid": {"r_max": 10.0}}}
    config = parse_config(raw, ["simulate.variants=30", "simulate.variants=40", "simulate.grid.r_step=0.2"])
    assert (config.simulate.variants, config.simulate.grid.r_max, config.simulate.grid.r_step) == (40, 10.0, 0.2)
    assert raw == {"simulate": {"variants": 20, "grid": {"r_max": 10.0}}}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("simulate", "--set simulate: expected key=value, such as simulate.variants=50"),
        ("=3", "--set =3: expected key=value"),
        ("simulate..variants=3", "expected key=value"),
        ("simulate.variants.x=3", "--set simulate.variants.x=3: variants is a single value"),
        ("simulate.variants=[1", "--set simulate.variants=[1: the value is not valid YAML"),
        ("simulate.variants=2024-13-45", "--set simulate.variants=2024-13-45: the value is not valid YAML"),
        ("simulate.variants=", "simulate.variants: found None (NoneType); expected a whole number"),
        ("simulate.varians=3", "unknown key simulate.varians; did you mean variants?"),
    ],
)
def test_a_wrong_override_is_refused(override: str, words: str) -> None:
    assert words in message({"simulate": {"variants": 20}}, override)


def test_a_file_is_read_and_overridden(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("name: überall\nsimulate:\n  u_iso: [4e-3, 0.03]  # Å²\n  strain: 1E-2\n", encoding="utf-8")
    config = load_config(path, ["simulate.variants=5"])
    assert (config.name, config.simulate.u_iso) == ("überall", (0.004, 0.03))
    assert (config.simulate.strain, config.simulate.variants) == (0.01, 5)


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "---\n"])
def test_a_file_without_keys_is_the_defaults(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    assert load_config(path) == RunConfig()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"simulate: [1", "is not valid YAML"),
        (b"simulate:\n\tvariants: 3", "is not valid YAML"),
        (b"when: 2024-13-45", "is not valid YAML"),
        (b"a: !!python/object/apply:os.system [id]", "is not valid YAML"),
        (b"simulate: {variants: 3}\nsimulate: {strain: 0}", "the key 'simulate' is given twice"),
        (b"[1, 2]", "holds list, expected keys and values"),
        (b"just words", "holds str, expected keys and values"),
        (b"\xff\xfe\x00binary", "cannot be read"),
        (b"[" * 1200, "is not valid YAML"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_by_name(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no configuration file .*missing\.yaml; see configs/run"):
        load_config(tmp_path / "missing.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


CHANGED: dict[str, Any] = {
    "name": "another",
    "source": {"starter": False, "cif_folder": "/cifs/ä"},
    "select": {"required": ["O", "Fe", "Sr"], "space_groups": [225, 2], "max_atoms": 50},
    "simulate": {"u_iso": [1e-5, 0.1], "q_max": 22, "grid": {"r_step": 0.05}},
    "predict": {"patterns": ["a.gr", "b"], "filter": {"excluded": ["Cl"]}},
    "train": {"boosted": {"learning_rate": 1e-3, "trees": "vector"}},
    "executor": {"workers": 3, "scratch": "/tmp"},
}


@pytest.mark.parametrize("raw", [{}, CHANGED])
def test_what_is_written_is_read_back_equal(raw: dict[str, Any]) -> None:
    config = parse_config(raw)
    text = yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True)
    assert parse_config(yaml.safe_load(text)) == config


def test_the_configurations_that_come_with_the_program_are_valid() -> None:
    folder = Path(__file__).resolve().parents[2] / "configs" / "run"
    names = {load_config(path).name for path in sorted(folder.glob("*.yaml"))}
    assert {"pdf", "quickstart"} <= names
