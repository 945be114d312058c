"""Projected costs of structures, kept beside the patterns: an update computes those of new structures only."""

import json
from collections.abc import Sequence
from pathlib import Path

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.durable import write_durably
from hpc_mlsm.plan.cost import StructureCost, structure_cost
from hpc_mlsm.scattering.kinds import PatternSettings
from hpc_mlsm.stages.run_directory import RunDirectory

COSTS = "costs.json"

Row = tuple[str, float, int, float]
"""Content hash, seconds, patterns and bytes."""


def project_costs(run: RunDirectory, ids: Sequence[str], settings: PatternSettings) -> list[StructureCost]:
    """Projected cost of each structure, ordered by id."""
    with Catalogue(run.catalogue, read_only=True) as catalogue:
        return [structure_cost(structure, settings) for structure in catalogue.structures(ids)]


def known_costs(
    run: RunDirectory, wanted: Sequence[tuple[str, str]], settings: PatternSettings, config_hash: str
) -> list[StructureCost]:
    """The same of the wanted (id, content hash), where possible as they were projected before.

    How work is divided into tasks follows from the costs of all structures, those that are there included; expanding
    each of their cells to find these would take longer than a small update.
    """
    path = run.patterns / COSTS
    known = _read(path, config_hash)
    new = [key for key, content in wanted if key not in known or known[key][0] != content]
    if new:
        contents = dict(wanted)
        for cost in project_costs(run, new, settings):
            known[cost.structure_id] = (contents[cost.structure_id], cost.seconds, cost.patterns, cost.bytes)
        kept = {key: known[key] for key, _ in wanted}
        write_durably(path, json.dumps({"config_hash": config_hash, "costs": kept}).encode())
    return [StructureCost(key, *known[key][1:]) for key, _ in wanted]


def _read(path: Path, config_hash: str) -> dict[str, Row]:
    """Costs that were written for this configuration; none where they cannot be read."""
    try:
        saved = json.loads(path.read_text())
        if saved["config_hash"] != config_hash:
            return {}
        return {
            key: (str(content), float(seconds), int(patterns), float(size))
            for key, (content, seconds, patterns, size) in saved["costs"].items()
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}
