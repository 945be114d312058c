"""Projected costs of the structures of a run, from columns of its catalogue: no structure is built for it."""

from collections.abc import Sequence

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.plan.cost import StructureCost, cell_cost
from hpc_mlsm.scattering.kinds import PatternSettings
from hpc_mlsm.stages.run_directory import RunDirectory


def projected_costs(run: RunDirectory, ids: Sequence[str], settings: PatternSettings) -> list[StructureCost]:
    """Projected cost of each structure, ordered by id."""
    with Catalogue(run.catalogue, read_only=True) as catalogue:
        return [cell_cost(cell, settings) for cell in catalogue.cell_contents(ids)]
