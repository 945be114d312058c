"""Runs of powder patterns that take seconds: coarse grids, small forests, and made-up molecules as organic crystals."""

from pathlib import Path
from typing import Any

import numpy as np
from small_run import cif_text, opened

from hpc_mlsm.config.load import parse_config
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.stages import ingest, simulate
from hpc_mlsm.structures.structure import Cell, Site, Structure
from hpc_mlsm.structures.symmetry import operations_of

GRID = {"two_theta_min": 5.0, "two_theta_max": 85.0, "two_theta_step": 0.1}
MOLECULE = (("C", 0.0, 0.0, 0.0), ("H", 1.08, 0.0, 0.0), ("O", -0.6, 1.05, 0.0), ("N", -0.65, -1.1, 0.35))
"""Formamide, about: atoms in Å."""


def powder_config(*overrides: str, **sections: Any) -> RunConfig:
    """The starter set, two small forests, three folds."""
    raw: dict[str, Any] = {
        "name": "powder",
        "simulate": {"kind": "powder", "variants": 2, "strain": 0.01, "grid": GRID, "caglioti_w": 0.03},
        "train": {"forest": {"trees": 12}, "extra_trees": {"trees": 12}},
        "classify": {"folds": {"folds": 3}},
        "executor": {"kind": "inline"},
    }
    return parse_config(raw | sections, overrides)


def simulated(folder: Path, config: RunConfig) -> Path:
    """A run that has its patterns."""
    with opened(folder, config) as context:
        ingest.run(context)
        simulate.run(context)
    return folder


def write_molecules(folder: Path, each: int = 6) -> Path:
    """CIFs of a molecule in triclinic, monoclinic and orthorhombic cells of many sizes: organic, and made up."""
    import gemmi

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for group, name in ((1, "triclinic"), (4, "monoclinic"), (19, "orthorhombic")):
        spacegroup = gemmi.find_spacegroup_by_number(group)
        for number in range(each):
            a, b, c = rng.uniform(6.0, 11.0, 3).round(3)
            angles = {1: (82.0, 77.0, 95.0), 4: (90.0, 101.0, 90.0), 19: (90.0, 90.0, 90.0)}[group]
            cell = Cell(float(a), float(b), float(c), *angles)
            sites = tuple(
                Site(f"{element}1", element, x / a + 0.2, y / b + 0.3, z / c + 0.15) for element, x, y, z in MOLECULE
            )
            made = Structure(f"{name}{number}", "", cell, group, spacegroup.xhm(), operations_of(spacegroup), sites)
            (folder / f"{name}{number}.cif").write_text(cif_text(made))
    return folder
