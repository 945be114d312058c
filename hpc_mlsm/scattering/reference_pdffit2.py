"""Reference engine: diffpy.pdffit2, the calculator behind PDFgui."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import ConfigError, StructureError
from hpc_mlsm.scattering.conditions import Engine, PdfConditions, PdfGrid
from hpc_mlsm.structures.structure import Structure


class _Silence:
    """Where PdfFit's messages go."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass


def pdffit2_engine() -> Engine:
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
        with silenced(pdffit2):
            rows = range(len(conditions))
            return np.array(
                [_pattern(pdffit2, structure, axis_scales[v], conditions.take(slice(v, v + 1)), grid) for v in rows]
            )

    return engine


@contextmanager
def silenced(pdffit2: Any) -> Iterator[None]:
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
        fit.read_struct_string(pdffit_text(structure, scales, values["u_iso"]))
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


def pdffit_text(structure: Structure, scales: NDArray[np.float64], u_iso: float) -> str:
    """All atoms of the strained cell in the format of PDFfit; under each, its deviations and displacements."""
    metric = scales[:, None] * structure.cell.metric * scales
    reciprocal = np.linalg.inv(metric)
    lengths = np.sqrt(np.diag(reciprocal))
    # In oblique axes, an isotropic U has off-diagonal terms: the cosines of the reciprocal angles.
    u = u_iso * reciprocal / np.outer(lengths, lengths)
    cell = structure.cell
    parameters = [*(np.array([cell.a, cell.b, cell.c]) * scales), cell.alpha, cell.beta, cell.gamma]
    atoms = structure.unit_cell
    lines = [
        "title",
        "format pdffit",
        "scale 1.0",
        "sharp 0.0, 0.0, 1.0, 0.0",
        "spcgr P1",
        "cell " + ", ".join(f"{value:.10f}" for value in parameters),
        "dcell 0.0, 0.0, 0.0, 0.0, 0.0, 0.0",
        f"ncell 1, 1, 1, {len(atoms)}",
        "atoms",
    ]
    displacements = [
        "0.0 0.0 0.0 0.0",
        f"{u[0, 0]:.10f} {u[1, 1]:.10f} {u[2, 2]:.10f}",
        "0.0 0.0 0.0",
        f"{u[0, 1]:.10f} {u[0, 2]:.10f} {u[1, 2]:.10f}",
        "0.0 0.0 0.0",
    ]
    for number, (x, y, z), occupancy in zip(atoms.numbers, atoms.fractional, atoms.occupancy, strict=True):
        element = gemmi.Element(int(number)).name.upper()
        lines += [f"{element} {x:.12f} {y:.12f} {z:.12f} {occupancy:.8f}", *displacements]
    return "\n".join(lines) + "\n"
