"""Reference engine: the PDFCalculator of diffpy.srreal."""

from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.scattering.conditions import Engine, PdfConditions, PdfGrid
from hpc_mlsm.structures.structure import Structure


def diffpy_engine() -> Engine:
    """An engine that computes with diffpy.srreal (Juhás et al., Acta Cryst. A71 (2015) 562).

    Scattering amplitudes are the atomic numbers. Its grid consists of multiples of r_step.

    Raises
    ------
    ConfigError
        If diffpy.srreal cannot be imported; the engine itself raises it for a grid that is not of multiples of r_step.
    """
    try:
        from diffpy.srreal.pdfcalculator import PDFCalculator
    except ImportError as error:
        raise ConfigError(
            f"the engine diffpy needs the package diffpy.srreal, but importing it failed ({error}). Working binaries "
            "are on conda-forge only: make the environment with 'conda env create -f environment.yml' (in the "
            "project's root folder), or choose the engine native"
        ) from error

    def engine(
        structure: Structure, axis_scales: NDArray[np.float64], conditions: PdfConditions, grid: PdfGrid
    ) -> NDArray[np.float64]:
        first = round(grid.r_min / grid.r_step)
        if abs(first * grid.r_step - grid.r_min) > 1e-6:
            raise ConfigError(f"the engine diffpy needs an r_min that is a multiple of r_step, found {grid}")
        calculator = PDFCalculator()
        calculator.scatteringfactortable = "electronnumber"
        calculator.addEnvelope("sphericalshape")
        calculator.rstep = grid.r_step
        calculator.rmin = max(0.0, grid.r_min - grid.r_step / 2)
        calculator.rmax = grid.r[-1] + grid.r_step / 2
        patterns = []
        for v in range(len(conditions)):
            calculator.qmin = float(conditions.q_min[v])
            calculator.qmax = float(conditions.q_max[v])
            calculator.qdamp = float(conditions.q_damp[v])
            calculator.qbroad = float(conditions.q_broad[v])
            calculator.delta1 = float(conditions.delta1[v])
            calculator.delta2 = float(conditions.delta2[v])
            calculator.spdiameter = float(conditions.diameter[v])
            r, g = calculator(_diffpy_structure(structure, axis_scales[v], float(conditions.u_iso[v])))
            patterns.append(np.asarray(g)[np.searchsorted(r, grid.r - grid.r_step / 2)])
        return np.array(patterns)

    return engine


def _diffpy_structure(structure: Structure, scales: NDArray[np.float64], u_iso: float) -> Any:
    """All atoms of the strained cell as a structure of diffpy.structure, every atom with the same U_iso (Å²)."""
    from diffpy.structure import Atom, Lattice
    from diffpy.structure import Structure as DiffpyStructure

    cell, atoms = structure.cell, structure.unit_cell
    lattice = Lattice(cell.a * scales[0], cell.b * scales[1], cell.c * scales[2], cell.alpha, cell.beta, cell.gamma)
    # An isotropic U in oblique axes has off-diagonal terms, which diffpy.structure knows once the lattice is given.
    given = {"lattice": lattice, "anisotropy": False, "Uisoequiv": u_iso}
    found = [
        Atom(gemmi.Element(int(number)).name, xyz, occupancy=occupancy, **given)
        for number, xyz, occupancy in zip(atoms.numbers, atoms.fractional, atoms.occupancy, strict=True)
    ]
    return DiffpyStructure(found, lattice=lattice)
