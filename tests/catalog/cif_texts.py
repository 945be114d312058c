"""CIFs for tests, written with a time that is not recent."""

import os
import time
from pathlib import Path


def cif(element: str, a: float) -> str:
    cell = "".join(f"_cell_length_{edge} {a}\n" for edge in "abc")
    cell += "".join(f"_cell_angle_{angle} 90\n" for angle in ("alpha", "beta", "gamma"))
    loop = "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
    return f"data_{element}\n{cell}_symmetry_space_group_name_H-M 'F m -3 m'\n{loop}{element}1 0 0 0\n"


def write(folder: Path, name: str, text: str, age_s: float = 60.0) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    then = time.time() - age_s
    os.utime(path, (then, then))
    return path
