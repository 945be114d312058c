"""The PDF written down directly from the formula, in double precision and without any trick, to compare with.

Pairs are found by trying every lattice vector of a large enough block, every peak is summed over the whole grid, and
the Fourier integrals are sums of sines.
"""

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.scattering.conditions import PdfConditions, PdfGrid
from hpc_mlsm.structures.structure import Structure


def cell_vectors(structure: Structure, scales: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows a, b and c in Cartesian coordinates, Å."""
    cell = structure.cell
    a, b, c = np.array([cell.a, cell.b, cell.c]) * scales
    cos_alpha, cos_beta, cos_gamma = np.cos(np.radians([cell.alpha, cell.beta, cell.gamma]))
    sin_gamma = np.sqrt(1 - cos_gamma**2)
    c_y = (cos_alpha - cos_beta * cos_gamma) / sin_gamma
    return np.array(
        [
            [a, 0, 0],
            [b * cos_gamma, b * sin_gamma, 0],
            [c * cos_beta, c * c_y, c * np.sqrt(1 - cos_beta**2 - c_y**2)],
        ]
    )


def pair_distances(
    structure: Structure, scales: NDArray[np.float64], r_cut: float
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Length and the two atoms of every ordered pair up to r_cut, Å, of which the first is in the cell."""
    vectors = cell_vectors(structure, scales)
    heights = 1 / np.linalg.norm(np.linalg.inv(vectors), axis=0)
    spans = [np.arange(-n, n + 1) for n in np.ceil(r_cut / heights).astype(int) + 1]
    lattice = np.stack(np.meshgrid(*spans, indexing="ij"), axis=-1).reshape(-1, 3) @ vectors
    positions = structure.unit_cell.fractional @ vectors
    lengths, first, second = [], [], []
    for i in range(len(positions)):
        for j in range(len(positions)):
            r = np.linalg.norm(positions[j] - positions[i] + lattice, axis=1)
            r = r[(r > 0.01) & (r <= r_cut)]
            lengths.append(r)
            first.append(np.full(len(r), i))
            second.append(np.full(len(r), j))
    return np.concatenate(lengths), np.concatenate(first), np.concatenate(second)


def brute_force_pdf(
    structure: Structure,
    grid: PdfGrid,
    *,
    scales: NDArray[np.float64] | None = None,
    atom_u: NDArray[np.float64] | None = None,
    amplitudes: NDArray[np.float64] | None = None,
    step: float | None = None,
    **values: Any,
) -> NDArray[np.float64]:
    """G(r) of one variant; ``values`` are those of PdfConditions.uniform, ``step`` is that of the internal grid."""
    condition = PdfConditions.uniform(1, **values)
    u_iso, delta1, delta2, q_broad, q_damp, q_min, q_max, diameter = (
        float(getattr(condition, field.name)[0]) for field in fields(condition)
    )
    scales = np.ones(3) if scales is None else scales
    step = grid.r_step if step is None else step
    atoms = structure.unit_cell
    u = np.full(len(atoms), u_iso) if atom_u is None else u_iso * atom_u
    f = atoms.occupancy * (atoms.numbers if amplitudes is None else amplitudes)

    end = grid.r[-1] + grid.r_step / 2 + 6 * 2 * np.pi / q_max
    r = step * np.arange(int(np.ceil(end / step - 1e-9)))
    widest = np.sqrt(2 * u.max() * (1 + (1.2 * q_broad * end) ** 2))
    r_ij, i, j = pair_distances(structure, scales, end + 7 * widest)
    bracket = 1 - delta1 / r_ij - delta2 / r_ij**2 + (q_broad * r_ij) ** 2
    counted = bracket > 0
    r_ij, i, j, bracket = r_ij[counted], i[counted], j[counted], bracket[counted]
    sigma = np.sqrt((u[i] + u[j]) * bracket)
    heights = f[i] * f[j] / r_ij / (sigma * np.sqrt(2 * np.pi))
    g = np.zeros(len(r))
    for block in np.array_split(np.arange(len(r_ij)), len(r_ij) // 20_000 + 1):
        g += np.exp(-0.5 * ((r[:, None] - r_ij[block]) / sigma[block]) ** 2) @ heights[block]
    n_atoms = atoms.occupancy.sum()
    g *= n_atoms / f.sum() ** 2
    g -= 4 * np.pi * r * n_atoms / np.linalg.det(cell_vectors(structure, scales))

    n_pad = 1
    while n_pad < len(r):
        n_pad *= 2
    q = np.arange(1, n_pad) * np.pi / (n_pad * step)
    q = q[(q >= q_min) & (q < q_max)]
    amplitude = np.sin(np.outer(q, r)) @ g * step
    limited = (2 / (n_pad * step)) * np.sin(np.outer(grid.r, q)) @ amplitude
    tau = np.minimum(grid.r / diameter, 1) if diameter else np.zeros(len(grid))
    return limited * np.exp(-0.5 * (q_damp * grid.r) ** 2) * (1 - 1.5 * tau + 0.5 * tau**3)
