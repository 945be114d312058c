"""Costs that are kept: those of a structure are projected once, as long as it and the settings are the same."""

from pathlib import Path

import pytest
from small_run import opened, small_config, write_cifs

from hpc_mlsm.stages import ingest, known_costs, simulate
from hpc_mlsm.stages.context import RunContext
from hpc_mlsm.stages.known_costs import COSTS, project_costs


def test_only_costs_of_new_structures_are_projected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cifs = write_cifs(tmp_path / "cifs", ("Ni", "MgO", "Si"))
    asked: list[list[str]] = []

    def counting(run, ids, settings):
        asked.append(list(ids))
        return project_costs(run, ids, settings)

    def costs(context: RunContext, config_hash: str = "a") -> list[object]:
        ingest.run(context)
        context.run.patterns.mkdir(parents=True, exist_ok=True)
        wanted = simulate.selected_keys(context.run, context.config.select)
        found = known_costs.known_costs(context.run, wanted, context.config.simulate, config_hash)
        assert found == project_costs(context.run, [key for key, _ in wanted], context.config.simulate)
        return list(found)

    monkeypatch.setattr(known_costs, "project_costs", counting)
    with opened(tmp_path / "run", small_config(cifs)) as context:
        costs(context)
        costs(context)
        assert asked == [["MgO", "Ni", "Si"]]
        write_cifs(cifs, ("Cu",))
        (cifs / "Si.cif").unlink()
        costs(context)
        costs(context)
        assert asked[1:] == [["Cu"]]
        costs(context, "b")
        assert asked[2:] == [["Cu", "MgO", "Ni"]]
        (context.run.patterns / COSTS).write_bytes(b"damaged")
        costs(context, "b")
        assert asked[3:] == [["Cu", "MgO", "Ni"]]
