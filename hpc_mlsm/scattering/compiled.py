"""The compiled kernels of an engine as a whole: making them all, and telling one state of their code from another."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numba
from llvmlite import binding  # type: ignore[import-untyped]

from hpc_mlsm.scattering.engines import simulate_structure
from hpc_mlsm.scattering.kinds import PatternSettings
from hpc_mlsm.scattering.settings import PdfSettings
from hpc_mlsm.structures.starter import starter_set

FOLDER = Path(__file__).parent

KINDS = 30
"""Every so-manieth structure of the starter set; between them they meet all cases that are compiled apart."""


def compiles(settings: PatternSettings) -> bool:
    """Whether the engine of these settings has kernels to compile."""
    return not isinstance(settings, PdfSettings) or settings.engine == "native"


def compile_kernels(settings: PatternSettings) -> None:
    """Compile all that simulations with these settings use, or load it from numba's cache: seconds, or 0.2 s."""
    for structure in starter_set()[::KINDS]:
        simulate_structure(structure, replace(settings, variants=2))


def kernels_stamp(settings: PatternSettings) -> str:
    """Another one whenever numba would compile anew: for other code, numba, processor, or kind of patterns."""
    digest = hashlib.sha256(f"{settings.kind} {numba.__version__} {binding.get_host_cpu_name()}".encode())
    for path in sorted(FOLDER.rglob("*.py")):
        found = path.stat()
        digest.update(f"{path} {found.st_mtime_ns} {found.st_size}".encode())
    return f"{settings.kind}-{digest.hexdigest()[:16]}"
