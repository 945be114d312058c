"""The same refinement by diffpy.pdffit2, the program behind PDFgui, to compare with."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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


def refine_with_pdffit2(
    structures: Sequence[Structure], data: FitData, settings: RefineSettings, start: Values
) -> ReferenceFit:
    """Refine scale, cell, one U_iso, and delta1, delta2, diameter and q_damp as far as the settings say, from a start.

    Values of several phases have keys as those of ``Refinement.values``.

    Its grid is that of the data. It has no q_min; see ``scattering.reference_pdffit2`` for its conventions.

    Parameters
    ----------
    structures : sequence of Structure
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
        keys = [f":{number}" if len(structures) > 1 else "" for number in range(1, len(structures) + 1)]
        for structure, key in zip(structures, keys, strict=True):
            lengths = np.array([start[f"{name}{key}"] for name in "abc"])
            scales = lengths / np.array(structure.cell.parameters[:3])
            fit.read_struct_string(pdffit_text(structure, scales, start[f"u_iso{key}"]))
        q_damp, ones = start.get("q_damp", settings.q_damp), np.ones(len(data.values))
        fit.read_data_lists("X", data.q_max, q_damp, list(data.grid.r), list(data.values), list(ones))
        fit.pdfrange(1, float(data.grid.r[0]), float(data.grid.r[-1]))
        parameters = _Parameters(fit, start)
        for phase, (structure, key) in enumerate(zip(structures, keys, strict=True), start=1):
            fit.setphase(phase)
            _constrain_phase(parameters, structure, settings, key)
        if settings.refine_q_damp:
            fit.constrain("qdamp", parameters.add("q_damp"))
        begin = time.process_time()
        fit.refine(TOLERANCE)
        seconds = time.process_time() - begin
        values = {name: float(fit.getpar(number)) for number, name in parameters.names.items()}
        for phase, key in enumerate(keys, start=1):
            fit.setphase(phase)
            values |= {f"{name}{key}": float(fit.getvar(fit.lat(k))) for k, name in enumerate(NAMES, start=1)}
        calculated = np.array(fit.getpdf_fit())
    r_w = float(np.linalg.norm(calculated - data.values) / np.linalg.norm(data.values))
    return ReferenceFit(values, r_w, calculated, seconds)


class _Parameters:
    """Parameters of a fit and their names by number."""

    def __init__(self, fit: Any, start: Values) -> None:
        self.fit, self.start = fit, start
        self.names: dict[int, str] = {}

    def add(self, name: str) -> int:
        """Another one, with the value that it starts from; returns its number."""
        number = len(self.names) + 1
        self.names[number] = name
        self.fit.setpar(number, self.start.get(name, 1.0))
        return number


def _constrain_phase(parameters: _Parameters, structure: Structure, settings: RefineSettings, key: str) -> None:
    """Make variables of the current phase depend on parameters as symmetry says."""
    fit = parameters.fit

    def add(name: str) -> int:
        return parameters.add(f"{name}{key}")

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
