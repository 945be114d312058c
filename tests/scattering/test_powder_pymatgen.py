"""Positions and intensities of lines against pymatgen's XRDCalculator."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
import pytest

from hpc_mlsm.scattering.powder.form_factors import FormFactorTable, form_factors
from hpc_mlsm.scattering.powder.lines import list_lines
from hpc_mlsm.scattering.powder.profile import lorentz_polarisation
from hpc_mlsm.scattering.powder.reflections import inverse_squares
from hpc_mlsm.structures.cif import read_cif
from hpc_mlsm.structures.starter import starter_set
from hpc_mlsm.structures.structure import Structure

pytest.importorskip("pymatgen", reason="pymatgen is in the test extra")

WAVELENGTH = 1.54056


def table_of_pymatgen(numbers: np.ndarray, s_squared: np.ndarray) -> np.ndarray:
    """f0 from the electron scattering factors that pymatgen has."""
    from pymatgen.analysis.diffraction.xrd import ATOMIC_SCATTERING_PARAMS

    found = []
    for number in numbers:
        a, b = np.array(ATOMIC_SCATTERING_PARAMS[gemmi.Element(int(number)).name]).T
        found.append(number - 41.78214 * s_squared * (a * np.exp(-b * s_squared[:, None])).sum(axis=1))
    return np.array(found)


def by_pymatgen(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    """2θ and intensities; pymatgen knows no displacements here."""
    from pymatgen.analysis.diffraction.xrd import XRDCalculator
    from pymatgen.core import Lattice
    from pymatgen.core import Structure as PymatgenStructure

    atoms = structure.unit_cell
    species = [
        {gemmi.Element(int(number)).name: float(occupancy)}
        for number, occupancy in zip(atoms.numbers, atoms.occupancy, strict=True)
    ]
    other = PymatgenStructure(Lattice.from_parameters(*structure.cell.parameters), species, atoms.fractional)
    pattern = XRDCalculator(WAVELENGTH).get_pattern(other, two_theta_range=(0, 90))
    return np.array(pattern.x), np.array(pattern.y)


def ours(structure: Structure, table: FormFactorTable) -> tuple[np.ndarray, np.ndarray]:
    bare = replace(structure, sites=tuple(replace(site, u_iso=None, u_aniso=None) for site in structure.sites))
    lines = list_lines(bare, WAVELENGTH / np.sqrt(2), u_iso=0.0, table=table)
    theta = np.arcsin(0.5 * WAVELENGTH * np.sqrt(inverse_squares(lines.hkl, lines.reciprocal)))
    factors = np.array([lorentz_polarisation(one, 1.0) for one in theta])
    return 2 * np.degrees(theta), np.add.reduceat(lines.intensities, lines.offsets[:-1]) * factors


def deviations(structure: Structure, table: FormFactorTable) -> tuple[float, float]:
    """Largest difference in position (degree) of lines that matter, and in intensity over the largest."""
    x, y = ours(structure, table)
    their_x, their_y = by_pymatgen(structure)
    everything = np.concatenate([x, their_x])
    order = np.argsort(everything)
    labels = np.empty(len(order), dtype=int)
    labels[order] = np.cumsum(np.append(True, np.diff(everything[order]) > 1e-3)) - 1
    n = labels.max() + 1
    sums = np.bincount(labels[: len(x)], y, minlength=n)
    their_sums = np.bincount(labels[len(x) :], their_y, minlength=n)
    sums, their_sums = sums / sums.max(), their_sums / their_sums.max()
    strong = their_x[their_y > 0.1]  # a tenth of a per cent of the largest
    return float(np.abs(strong[:, None] - x).min(axis=1).max()), float(np.abs(sums - their_sums).max())


def check(structures: Iterable[Structure], least: int) -> None:
    found = np.array([deviations(one, table_of_pymatgen) for one in structures])
    assert len(found) >= least
    print(f"{len(found)} structures: positions within {found[:, 0].max():.1e}°, intensities {found[:, 1].max():.1e}")
    assert found[:, 0].max() < 1e-3
    assert found[:, 1].max() < 5e-3


def test_lines_of_the_starter_set_are_those_of_pymatgen() -> None:
    check(starter_set()[::6], 30)


@pytest.mark.reference
def test_lines_of_real_structures_are_those_of_pymatgen(shared_data: Path) -> None:
    files = sorted((shared_data / "cod").rglob("*.cif"))[::9]
    structures = [one for path in files for one in read_cif(path)[0]]
    check((one for one in structures if one.cell.volume < 3000), 40)


def test_the_tables_of_form_factors_differ_by_a_few_per_cent_and_mostly_less() -> None:
    # International Tables' X-ray factors here, electron factors turned into them there.
    found = np.array([deviations(one, form_factors)[1] for one in starter_set()[::6]])
    assert np.median(found) < 5e-3
    assert found.max() < 0.05
