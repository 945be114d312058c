"""Crystals written out as P1 are taught with the symmetry that they have, unless the configuration says otherwise."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from powder_runs import powder_config, simulated, write_molecules
from small_run import cif_text, opened

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.evaluation.fold_files import read_study
from hpc_mlsm.runtime.events import Event, Note
from hpc_mlsm.stages import evaluate, train
from hpc_mlsm.stages.data_sets import LabelledSet, labelled_sets
from hpc_mlsm.stages.network_data import network_data
from hpc_mlsm.stages.network_plan import class_patterns
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.taught_symmetry import NAMED, relabelled, relabelling_note
from hpc_mlsm.structures.labels import CRYSTAL_SYSTEMS, Relabelled
from hpc_mlsm.structures.starter import starter_set
from hpc_mlsm.structures.structure import Site

EXPORTS = {"NaCl": (225, "cubic"), "TiO2": (136, "tetragonal"), "Al2O3": (167, "trigonal")}
FOUND, STATED = (f"classify.symmetry={word}" for word in ("found", "stated"))
COMMON = ("classify.folds.rare=spread", "classify.models=[forest]", "train.forest.trees=4")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Patterns of molecules, three a system, and of three exports of calculations that state P1."""
    folder = tmp_path_factory.mktemp("stated")
    cifs = write_molecules(folder / "cifs", each=3)
    for formula, (group, _) in EXPORTS.items():
        known = next(one for one in starter_set() if one.formula == formula and one.space_group == group)
        atoms = known.unit_cell
        sites = tuple(
            Site(f"{k}", known.sites[own].element, *np.round(place, 5).tolist())
            for k, (own, place) in enumerate(zip(atoms.site, atoms.fractional, strict=True))
        )
        made = replace(known, space_group=1, space_group_symbol="P 1", operations=("x,y,z",), sites=sites)
        (cifs / f"{formula}.cif").write_text(cif_text(made))
    return simulated(folder / "run", config(FOUND, cifs=cifs))


def config(*overrides: str, cifs: Path = Path()) -> RunConfig:
    return powder_config(*COMMON, *overrides, source={"starter": False, "cif_folder": str(cifs)})


def data_set_of(run: Path, *overrides: str) -> LabelledSet:
    (part,) = labelled_sets(RunDirectory(run, "powder"), config(*overrides))
    return part


def test_exports_are_taught_as_what_they_are_and_molecules_as_what_is_stated(run: Path) -> None:
    found, stated = data_set_of(run, FOUND), data_set_of(run, STATED)
    taught = dict(zip(found.ids, zip(found.space_groups, found.labels, strict=True), strict=True))
    for formula, (group, system) in EXPORTS.items():
        assert taught[formula] == (group, CRYSTAL_SYSTEMS.index(system))
    assert {one.id: (one.formula, one.stated, one.found) for one in found.relabelled} == {
        formula: (formula, 1, group) for formula, (group, _) in EXPORTS.items()
    }
    assert list(found.counts.values()) == [3, 3, 3, 1, 1, 0, 1]
    assert list(stated.counts.values()) == [6, 3, 3, 0, 0, 0, 0]
    assert stated.relabelled == ()
    assert found.fingerprint != stated.fingerprint
    assert data_set_of(run).fingerprint == found.fingerprint


def test_networks_and_plans_have_the_same_labels(run: Path) -> None:
    settings = config(FOUND, "classify.models=[cnn]")
    directory = RunDirectory(run, "powder")
    (part,) = labelled_sets(directory, settings)
    data = network_data(directory, settings, part, "cnn")
    groups = dict(zip(part.ids, (data.targets["space_group"] + 1).tolist(), strict=True))
    assert {key: groups[key] for key in EXPORTS} == {key: group for key, (group, _) in EXPORTS.items()}
    for overrides in (FOUND, STATED):
        counted = class_patterns(directory, config(overrides), part.ids)
        assert [n // 2 for n in counted] == list(data_set_of(run, overrides).counts.values())


def test_models_are_trained_anew_and_notes_and_tables_name_what_was_relabelled(run: Path) -> None:
    heard: list[Event] = []
    for overrides, reused in ((FOUND, False), (FOUND, True), (STATED, False)):
        with opened(run, config(overrides), heard if overrides == FOUND else None) as context:
            assert [one.reused for one in train.run(context).models] == [reused]  # type: ignore[union-attr]
    said = [event.text for event in heard if isinstance(event, Note)]
    assert any(
        "3 structures stated as P1 have more symmetry" in text and "TiO2 (TiO2) tetragonal" in text for text in said
    )
    for overrides in (STATED, FOUND):
        with opened(run, config(overrides)) as context:
            evaluate.run(context)
        table = run / "evaluation" / "relabelled.csv"
        assert table.exists() == (overrides == FOUND)
    with table.open(newline="") as file:
        rows = {row["Structure"]: (row["Found"], row["Crystal system"]) for row in csv.DictReader(file)}
    assert rows == {
        "NaCl": ("F m -3 m", "cubic"),
        "TiO2": ("P 42/m n m", "tetragonal"),
        "Al2O3": ("R -3 c", "trigonal"),
    }
    study = read_study(run / "evaluation")
    assert study is not None
    assert study.relabelled == data_set_of(run, FOUND).relabelled


def test_only_structures_stated_as_p1_that_nobody_made_up_are_looked_at(run: Path) -> None:
    with Catalogue(run / "catalog.sqlite", read_only=True) as catalogue:
        summaries = list(catalogue.summaries())
        low = [replace(one, space_group=2) for one in summaries]
        made_up = [replace(one, source="synthetic") for one in summaries]
        assert relabelled(catalogue, low, "found") == relabelled(catalogue, made_up, "found") == {}
        assert relabelled(catalogue, summaries, "found").keys() == EXPORTS.keys()


def test_a_note_of_many_names_the_first_and_counts_those_of_another_system() -> None:
    many = [Relabelled(f"s{k}", "X", 1, 2 if k else 225) for k in range(NAMED + 5)]
    text = relabelling_note(many)
    for part in ("15 structures stated as P1 have", "another crystal system in 1", "s9 (X)", "and 5 more"):
        assert part in text
    assert "s10" not in text
    assert relabelling_note(many[:1]).startswith("1 structure stated as P1 has")
