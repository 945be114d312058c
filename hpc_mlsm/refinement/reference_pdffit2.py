"""The same refinement by diffpy.pdffit2, the program behind PDFgui, to compare with."""

import time
from dataclasses import dataclass

import numpy as np

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.refinement.cell import NAMES, FreeCell
from hpc_mlsm.refinement.refine import FitData
from hpc_mlsm.refinement.result import Values
from hpc_mlsm.refinement.settings import RefineSettings
from hpc_mlsm.scattering.reference_pdffit2 import pdffit_text, silenced
from hpc_mlsm.structures.structure import Structure

TOLERANCE = 1e-8
"""What its own default is."""

_TIED = 1e-9


@dataclass(frozen=True)
class ReferenceFit:
    """Values by name, r_w, the fitted curve on the data's points, and processor seconds of the refinement alone."""

    values: Values
    r_w: float
    calculated: np.ndarray
    seconds: float


def refine_with_pdffit2(structure: Structure, data: FitData, settings: RefineSettings, start: Values) -> ReferenceFit:
    """Refine scale, cell, one U_iso, and delta1, delta2, diameter and q_damp as far as the settings say, from a start.

    Its grid is that of the data. It has no q_min; see ``scattering.reference_pdffit2`` for its conventions.

    Parameters
    ----------
    structure : Structure
    data : FitData
    settings : RefineSettings
        With one U_iso for all atoms.
    start : dict
        Values by name; all that are refined.

    Raises
    ------
    ConfigError
        If diffpy.pdffit2 cannot be imported, or other settings are asked for.
    """
    try:
        import diffpy.pdffit2 as pdffit2
    except ImportError as error:
        raise ConfigError(f"diffpy.pdffit2 cannot be imported ({error}); pip install diffpy.pdffit2") from error
    if settings.displacement != "one":
        raise ConfigError("the comparison with pdffit2 is for one U_iso; set refine.fit.displacement to one")
    with silenced(pdffit2):
        fit = pdffit2.PdfFit(create_intro=False)
        scales = np.array([start[name] for name in "abc"]) / np.array(structure.cell.parameters[:3])
        fit.read_struct_string(pdffit_text(structure, scales, start["u_iso"]))
        q_damp, ones = start.get("q_damp", settings.q_damp), np.ones(len(data.values))
        fit.read_data_lists("X", data.q_max, q_damp, list(data.grid.r), list(data.values), list(ones))
        fit.pdfrange(1, float(data.grid.r[0]), float(data.grid.r[-1]))
        parameters = _constrain(fit, structure, settings, start)
        begin = time.process_time()
        fit.refine(TOLERANCE)
        seconds = time.process_time() - begin
        values = {name: float(fit.getpar(number)) for number, name in parameters.items()}
        for index, name in enumerate(NAMES, start=1):
            values[name] = float(fit.getvar(fit.lat(index)))
        calculated = np.array(fit.getpdf_fit())
    r_w = float(np.linalg.norm(calculated - data.values) / np.linalg.norm(data.values))
    return ReferenceFit(values, r_w, calculated, seconds)


def _constrain(fit, structure: Structure, settings: RefineSettings, start: Values) -> dict[int, str]:  # type: ignore[no-untyped-def]
    """Make variables depend on parameters as symmetry says; returns the parameters' names by number."""
    parameters: dict[int, str] = {}

    def add(name: str) -> int:
        parameters[len(parameters) + 1] = name
        fit.setpar(len(parameters), start.get(name, 1.0))
        return len(parameters)

    fit.constrain("pscale", add("scale"))
    cell = FreeCell.of(structure, settings.max_strain)
    _, by_x = cell.lengths_and_angles(np.zeros(len(cell.spans)))
    known: list[tuple[np.ndarray, int]] = []
    for index, name in enumerate(NAMES):
        row = by_x[index]
        if not row.any():
            continue
        unit = row / np.linalg.norm(row)
        tied = next((number for other, number in known if np.abs(unit - other).max() < _TIED), None)
        number = add(name) if tied is None else tied
        known.append((unit, number))
        fit.constrain(fit.lat(index + 1), number)
    u = add("u_iso")
    reciprocal = np.linalg.inv(structure.cell.metric)
    lengths = np.sqrt(np.diag(reciprocal))
    cosines = reciprocal / np.outer(lengths, lengths)
    for atom in range(1, len(structure.unit_cell) + 1):
        for name in ("u11", "u22", "u33"):
            fit.constrain(getattr(fit, name)(atom), u)
        for name, (i, j) in (("u12", (0, 1)), ("u13", (0, 2)), ("u23", (1, 2))):
            if abs(cosines[i, j]) > 1e-9:
                fit.constrain(getattr(fit, name)(atom), f"@{u}*{cosines[i, j]:.10f}")
    if settings.correlated_motion != "none":
        fit.constrain(settings.correlated_motion, add(settings.correlated_motion))
    if settings.size:
        fit.constrain("spdiameter", add("diameter"))
    if settings.refine_q_damp:
        fit.constrain("qdamp", add("q_damp"))
    return parameters
