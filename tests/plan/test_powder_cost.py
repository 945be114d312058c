"""Projected costs of powder patterns follow what simulations cost."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpc_mlsm.plan.cost import structure_cost
from hpc_mlsm.plan.tasks import MAX_VALUES, plan_simulation, rows_at_most
from hpc_mlsm.scattering.engines import simulate_structure
from hpc_mlsm.scattering.powder.conditions import Radiation, TwoThetaGrid
from hpc_mlsm.scattering.powder.settings import PowderSettings
from hpc_mlsm.structures.cif import read_cif
from hpc_mlsm.structures.starter import starter_set
from hpc_mlsm.structures.structure import Structure

SETTINGS = PowderSettings(variants=20, strain=0.01)


def starter(formula: str) -> Structure:
    return next(one for one in starter_set() if one.formula == formula)


def test_patterns_and_bytes_are_counted_with_the_base_pattern() -> None:
    cost = structure_cost(starter("Ni"), SETTINGS)
    assert cost.patterns == 21
    assert 21 * 4501 * 2 < cost.bytes < 21 * 4501 * 4


def test_more_work_costs_more() -> None:
    simple = structure_cost(starter("Ni"), SETTINGS).seconds
    assert structure_cost(starter("ZrO2"), SETTINGS).seconds > 1.5 * simple
    for larger in (
        replace(SETTINGS, variants=200),
        replace(SETTINGS, counts=(100.0, 1000.0)),
        replace(SETTINGS, radiation=Radiation((1.5406, 1.5444), (2.0, 1.0))),
        replace(SETTINGS, radiation=Radiation((0.7107,))),
        replace(SETTINGS, grid=TwoThetaGrid(0.0, 90.0, 0.01)),
        replace(SETTINGS, grid=TwoThetaGrid(0.0, 150.0, 0.03)),
    ):
        assert structure_cost(starter("ZrO2"), larger).seconds > structure_cost(starter("ZrO2"), SETTINGS).seconds


def test_a_shard_of_long_patterns_holds_fewer_of_them(tmp_path: Path) -> None:
    settings = PowderSettings(variants=1000)
    costs = [structure_cost(one, settings) for one in starter_set()[:40]]
    tasks = plan_simulation(costs, settings, "", catalogue=tmp_path, store=tmp_path)
    assert max(task.units for task in tasks) * 4501 <= MAX_VALUES
    assert rows_at_most(301) == 50_000


@pytest.mark.reference
def test_projected_costs_follow_measured_times(shared_data: Path) -> None:
    files = sorted((shared_data / "cod").rglob("*.cif"))[::15]
    structures = [one for path in files for one in read_cif(path)[0]]
    simulate_structure(structures[0], SETTINGS)  # compiles the kernels
    measured, projected = [], []
    for structure in structures:
        start = time.process_time()
        simulate_structure(structure, SETTINGS)
        measured.append(time.process_time() - start)
        projected.append(structure_cost(structure, SETTINGS).seconds)
    correlation = float(np.corrcoef(np.log(measured), np.log(projected))[0, 1])
    ratio = sum(projected) / sum(measured)
    print(f"{len(structures)} structures: correlation of logarithms {correlation:.3f}, projected/measured {ratio:.2f}")
    assert correlation > 0.85
    assert 1 / 6 < ratio < 6
