"""A run small enough for tests: a dozen starter structures as CIFs, few variants, few rounds."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpc_mlsm.config.load import parse_config
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.runtime.events import Event
from hpc_mlsm.stages.context import RunContext, open_run
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.structures.starter import starter_set
from hpc_mlsm.structures.structure import Structure

FORMULAE = ("Ni", "Cu", "Al", "Fe", "W", "Mg", "Si", "NaCl", "MgO", "CeO2", "ZnO", "TiO2")


def cif_text(structure: Structure) -> str:
    """A CIF of a structure, with explicit symmetry operations."""
    cell, lines = structure.cell, [f"data_{structure.id.rpartition('/')[2]}"]
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lines += [f"_cell_{name} {value}" for name, value in zip(names, cell.parameters, strict=True)]
    lines += ["loop_", "_space_group_symop_operation_xyz", *(f"'{op}'" for op in structure.operations)]
    columns = ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy")
    lines += ["loop_", *(f"_atom_site_{column}" for column in columns)]
    lines += [f"{s.label} {s.element} {s.x} {s.y} {s.z} {s.occupancy}" for s in structure.sites]
    return "\n".join(lines) + "\n"


def write_cifs(folder: Path, formulae: tuple[str, ...] = FORMULAE) -> Path:
    """Write the first starter structure of each formula as a CIF."""
    folder.mkdir(parents=True, exist_ok=True)
    for formula in formulae:
        structure = next(one for one in starter_set() if one.formula == formula)
        (folder / f"{formula}.cif").write_text(cif_text(structure))
    return folder


def small_config(cifs: Path, *overrides: str) -> RunConfig:
    """Settings of a run of seconds."""
    raw = {
        "name": "small",
        "source": {"starter": False, "cif_folder": str(cifs)},
        "simulate": {"variants": 12, "grid": {"r_max": 15.0}},
        "train": {"boosted": {"rounds": 6, "max_depth": 3, "checkpoint_every": 2}, "retrieval": {"memory_mb": 8}},
        "predict": {"samples": 3},
        "executor": {"kind": "inline"},
    }
    return parse_config(raw, overrides)


@contextmanager
def opened(folder: Path, config: RunConfig, heard: list[Event] | None = None) -> Iterator[RunContext]:
    """A run in use; events go into ``heard``."""
    with open_run(RunDirectory(folder), config, (heard if heard is not None else []).append) as context:
        yield context
