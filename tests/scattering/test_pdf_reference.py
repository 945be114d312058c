"""Agreement with curves that diffpy.srreal computed; they are not part of the project."""

from collections.abc import Iterator
from pathlib import Path

import gemmi
import h5py
import numpy as np
import pytest
import spglib
from scattering_crystals import crystal

from hpc_mlsm.scattering.conditions import PdfConditions, PdfGrid
from hpc_mlsm.scattering.engines import native_engine
from hpc_mlsm.structures.structure import Structure

pytestmark = [
    pytest.mark.reference,
    # spglib 2.7 warns on every call that it will raise instead of returning None.
    pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning"),
]

NAMES = {
    "u_iso": "uiso",
    "delta2": "delta2",
    "q_broad": "qbroad",
    "q_damp": "qdamp",
    "q_min": "qmin",
    "q_max": "qmax",
    "diameter": "spdiameter",
}


def _structure(name: str, group: h5py.Group) -> Structure:
    elements = [element.decode() for element in group["elements"][:]]
    sites = zip(elements, *group["xyz"][:].T, group["occupancy"][:], strict=True)
    return crystal(name, "P 1", tuple(map(float, group["lattice"][:])), *((e, *map(float, rest)) for e, *rest in sites))


def _curves(path: Path) -> Iterator[tuple[Structure, np.ndarray, PdfConditions, np.ndarray]]:
    """Structure, factors on its axes, conditions and G(r) of every curve."""
    with h5py.File(path, locking=False) as file:
        for name, group in file.items():
            structure = _structure(name, group)
            for kind in ("base", "strained", "nano"):
                attributes = group[kind].attrs
                conditions = PdfConditions.uniform(1, **{ours: float(attributes[its]) for ours, its in NAMES.items()})
                scales = attributes["lattice"][:3] / group["lattice"][:3]
                yield structure, scales[None], conditions, group[kind][:]


def _symmetric(structure: Structure) -> Structure | None:
    """The same crystal with the symmetry that spglib finds in its own axes; None if occupancies are partial."""
    atoms = structure.unit_cell
    if np.any(atoms.occupancy != 1.0):
        return None
    vectors = np.array(gemmi.UnitCell(*structure.cell.parameters).orth.mat.tolist()).T
    found = spglib.get_symmetry_dataset((vectors, atoms.fractional, atoms.numbers), symprec=1e-3)
    operations = []
    for rotation, translation in zip(found.rotations, found.translations, strict=True):
        operation = gemmi.Op()
        operation.rot = (gemmi.Op.DEN * rotation).tolist()
        operation.tran = np.round(gemmi.Op.DEN * translation).astype(int).tolist()
        operations.append(operation.triplet())
    first = np.unique(found.equivalent_atoms)
    sites = [(gemmi.Element(int(atoms.numbers[i])).name, *map(float, atoms.fractional[i])) for i in first]
    symmetric = crystal(structure.id, "P 1", structure.cell.parameters, *sites)
    symmetric = Structure(**{**vars(symmetric), "operations": tuple(operations), "space_group": found.number})
    return symmetric if len(symmetric.unit_cell) == len(atoms) else None


def _deviations(path: Path, symmetric: bool) -> dict[str, float]:
    deviations = {}
    for number, (structure, scales, conditions, expected) in enumerate(_curves(path)):
        described = _symmetric(structure) if symmetric else structure
        if described is not None:
            found = native_engine(described, scales, conditions, PdfGrid(0.0, 30.0, 0.1))[0]
            deviations[f"{structure.id} {number}"] = float(np.abs(found - expected).max() / np.abs(expected).max())
    return deviations


@pytest.fixture(scope="module")
def reference(shared_data: Path) -> Path:
    return shared_data / "reference" / "pdf_diffpy_srreal.h5"


@pytest.mark.parametrize("symmetric", [False, True], ids=["P1", "symmetric"])
def test_patterns_are_those_of_diffpy_srreal(reference: Path, symmetric: bool) -> None:
    deviations = _deviations(reference, symmetric)
    assert len(deviations) == 72 or (symmetric and len(deviations) > 50)
    assert np.median(list(deviations.values())) < 2e-4
    worst = max(deviations, key=lambda name: deviations[name])
    assert deviations[worst] < 1e-3, worst
