"""The compiled kernels as a whole: making them all, and telling one state of their code from another."""

import hashlib
from pathlib import Path

import numba
from llvmlite import binding  # type: ignore[import-untyped]

from hpc_mlsm.scattering import histogram, neighbours
from hpc_mlsm.scattering.engines import simulate_structure
from hpc_mlsm.scattering.settings import PdfSettings
from hpc_mlsm.structures.structure import Cell, Site, Structure

_MODULES = (histogram, neighbours)


def compile_kernels() -> None:
    """Compile all that the native engine needs, or load it from numba's cache: some seconds, or 0.2 s."""
    polonium = Structure(
        id="polonium",
        name="Po",
        cell=Cell(3.345, 3.345, 3.345, 90.0, 90.0, 90.0),
        space_group=1,
        space_group_symbol="P 1",
        operations=("x,y,z",),
        sites=(Site("Po1", "Po", 0.0, 0.0, 0.0),),
    )
    simulate_structure(polonium, PdfSettings(variants=1))


def kernels_stamp() -> str:
    """Another one whenever numba would compile anew: for other files of kernels, numba, or processor."""
    digest = hashlib.sha256(f"{numba.__version__} {binding.get_host_cpu_name()}".encode())
    for module in _MODULES:
        path = Path(str(module.__file__))
        found = path.stat()
        digest.update(f"{path} {found.st_mtime_ns} {found.st_size}".encode())
    return digest.hexdigest()[:16]
