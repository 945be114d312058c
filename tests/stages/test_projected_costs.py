"""Costs from columns of the catalogue are those of the structures themselves."""

from pathlib import Path

import pytest
from small_run import opened, small_config, write_cifs

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.config.load import parse_config
from hpc_mlsm.plan.cost import structure_cost
from hpc_mlsm.stages import ingest
from hpc_mlsm.stages.projected_costs import projected_costs


@pytest.mark.parametrize("kind", ["pdf", "powder"])
def test_costs_are_those_of_the_structures(tmp_path: Path, kind: str) -> None:
    raw = {"name": "costs", "source": {"starter": True}, "simulate": {"kind": kind, "variants": 3}}
    config = parse_config(raw, ())
    with opened(tmp_path / "run", small_config(write_cifs(tmp_path / "cifs", ("Ni",)), "source.starter=true")) as one:
        ingest.run(one)
        with Catalogue(one.run.catalogue, read_only=True) as catalogue:
            structures = list(catalogue.structures())
        ids = [structure.id for structure in structures]
        assert projected_costs(one.run, ids, config.simulate) == [
            structure_cost(structure, config.simulate) for structure in structures
        ]
        assert projected_costs(one.run, ids[5:7], config.simulate) == [
            structure_cost(structure, config.simulate) for structure in structures[5:7]
        ]
