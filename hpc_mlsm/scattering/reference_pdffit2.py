"""Reference engine: diffpy.pdffit2, the calculator behind PDFgui."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import ConfigError, StructureError
from hpc_mlsm.scattering.conditions import PdfConditions, PdfGrid
from hpc_mlsm.structures.structure import Structure

if TYPE_CHECKING:
    from hpc_mlsm.scattering.engines import Engine


class _Silence:
    """Where PdfFit's messages go."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass


def pdffit2_engine() -> "Engine":
    """An engine that computes with diffpy.pdffit2 (Farrow et al., J. Phys.: Condens. Matter 19 (2007) 335219).

    Its conventions differ from the package's own engine: peaks are divided by r, not by r_ij, which shifts weight by
    up to 0.6 σ/r_ij of a peak's height; the envelopes act before the band limit; and the band limit does not know
    that G(r) is odd. It has no q_min: other values than 0 are refused rather than ignored. The computation begins at
    the lowest point of the grid continued to r = 0, where G is 0.

    Raises
    ------
    ConfigError
        If diffpy.pdffit2 cannot be imported; the engine itself raises it for a q_min above 0.
    """
    try:
        import diffpy.pdffit2 as pdffit2
    except ImportError as error:
        raise ConfigError(
            f"the engine pdffit2 needs the package diffpy.pdffit2 with its compiled part, but importing it failed "
            f"({error}); install it with: pip install --only-binary diffpy.pdffit2 diffpy.pdffit2"
        ) from error

    def engine(
        structure: Structure, axis_scales: NDArray[np.float64], conditions: PdfConditions, grid: PdfGrid
    ) -> NDArray[np.float64]:
        if conditions.q_min.any():
            raise ConfigError(f"the engine pdffit2 has no q_min, found {conditions.q_min.max()}; set q_min to 0")
        with _silenced(pdffit2):
            rows = range(len(conditions))
            return np.array(
                [_pattern(pdffit2, structure, axis_scales[v], conditions.take(slice(v, v + 1)), grid) for v in rows]
            )

    return engine


@contextmanager
def _silenced(pdffit2: Any) -> Iterator[None]:
    previous = pdffit2.output.stdout
    pdffit2.redirect_stdout(_Silence())
    try:
        yield
    finally:
        pdffit2.redirect_stdout(previous)


def _pattern(
    pdffit2: Any, structure: Structure, scales: NDArray[np.float64], conditions: PdfConditions, grid: PdfGrid
) -> NDArray[np.float64]:
    values = {name: float(getattr(conditions, name)[0]) for name in conditions.__dataclass_fields__}
    fit = pdffit2.PdfFit(create_intro=False)
    try:
        fit.add_structure(diffpy_structure(structure, scales, values["u_iso"]))
    except pdffit2.pdffit2.structureError as error:
        raise StructureError("unknown_element", f"{structure.id}: diffpy.pdffit2 refuses it: {error}") from error
    # Points are added down to above r = 0: what lies below the first point would be cut off, and G(0) is 0/0 there.
    below = int(np.ceil(grid.r_min / grid.r_step - 1e-6)) - 1
    first = grid.r_min - below * grid.r_step
    n_points = len(grid) + below
    fit.alloc("X", values["q_max"], values["q_damp"], first, first + (n_points - 1) * grid.r_step, n_points)
    for name in ("delta1", "delta2"):
        fit.setvar(name, values[name])
    fit.setvar("qbroad", values["q_broad"])
    fit.setvar("spdiameter", values["diameter"])
    fit.calc()
    return np.concatenate([np.zeros(max(-below, 0)), np.array(fit.getpdf_fit())[max(below, 0) :]])


def diffpy_structure(structure: Structure, scales: NDArray[np.float64], u_iso: float) -> Any:
    """All atoms of the strained cell as a structure of diffpy.structure, every atom with the same U_iso (Å²)."""
    from diffpy.structure import Atom, Lattice
    from diffpy.structure import Structure as DiffpyStructure

    cell, atoms = structure.cell, structure.unit_cell
    lattice = Lattice(cell.a * scales[0], cell.b * scales[1], cell.c * scales[2], cell.alpha, cell.beta, cell.gamma)
    # An isotropic U in oblique axes has off-diagonal terms, which diffpy.structure knows once the lattice is given.
    return DiffpyStructure(
        [
            Atom(
                gemmi.Element(int(z)).name, xyz, occupancy=occupancy, lattice=lattice, anisotropy=False, Uisoequiv=u_iso
            )
            for z, xyz, occupancy in zip(atoms.numbers, atoms.fractional, atoms.occupancy, strict=True)
        ],
        lattice=lattice,
    )
