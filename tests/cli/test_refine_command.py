"""The command ``refine`` on files: tables with units and uncertainties, figures, and messages."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from refinement_samples import STARTER, curve

from hpc_mlsm.scattering.conditions import PdfGrid

FINE = PdfGrid(0.0, 20.0, 0.02)
NICKEL = """data_Ni
_cell_length_a 3.524
_cell_length_b 3.524
_cell_length_c 3.524
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_name_H-M_alt 'F m -3 m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Ni1 Ni 0 0 0
"""


def hpc_mlsm(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hpc_mlsm.cli.main", *words]
    environment = os.environ | {"COLUMNS": "160"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def write_patterns(folder: Path, n: int) -> None:
    folder.mkdir()
    for k in range(n):
        g = curve(STARTER["Ni-fcc"], 1 + 0.001 * k, grid=FINE)
        lines = "\n".join(f"{r:.4f} {value:.8f}" for r, value in zip(FINE.r, g, strict=True))
        (folder / f"sample_{100 + 10 * k}K.gr").write_text(
            f"qmin = 0.5\nqmax = 20.0\n#L r($\\AA$)  G($\\AA^{{-2}}$)\n{lines}\n"
        )


@pytest.mark.slow
def test_a_series_of_files_is_refined_and_shown(tmp_path: Path) -> None:
    write_patterns(tmp_path / "patterns", 3)
    (tmp_path / "Ni.cif").write_text(NICKEL)
    words = ("refine", "patterns", "--structure", "Ni.cif", "--run", "run")
    planned = hpc_mlsm(*words, "--plan", cwd=tmp_path)
    assert "3 frames with 5 fits" in planned.stdout, planned.stderr
    assert not (tmp_path / "run").exists()
    done = hpc_mlsm(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 frames fitted" in done.stdout
    assert "temperature" in done.stdout
    assert "(Å)" in done.stdout
    folder = tmp_path / "run" / "refinement"
    with (folder / "refinement.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    cell = STARTER["Ni-fcc"].cell.a
    assert [float(row["a"]) for row in rows] == pytest.approx([cell, 1.001 * cell, 1.002 * cell], abs=1e-4)
    assert [float(row["temperature"]) for row in rows] == [100, 110, 120]
    with h5py.File(folder / "refinement.nxs") as file:
        curves = file["entry/curves"]
        assert curves["measured"].shape == (3, len(curves["r"]))
        assert np.abs(curves["difference"][()]).max() < 0.02 * np.abs(curves["measured"][()]).max()
        assert file["entry/a"].attrs["signal"] == "a"
        assert file["entry/a/a"].attrs["units"] == "angstrom"
    assert {path.name for path in (folder / "figures").glob("*.png")} >= {"parameters.png", "000000-sample_100K.png"}


def test_what_cannot_be_refined_is_said_in_one_line(tmp_path: Path) -> None:
    nothing = hpc_mlsm("refine", "missing.gr", "--structure", "missing.cif", cwd=tmp_path)
    assert nothing.returncode == 1
    assert "missing.cif" in nothing.stderr + nothing.stdout
    no_structure = hpc_mlsm("refine", "missing.gr", cwd=tmp_path)
    assert "together with --structure" in no_structure.stderr
