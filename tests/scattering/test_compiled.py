"""The kernels are compiled as a whole, and by one of several processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpc_mlsm.scattering import compiled

SIMULATE = """
import numba
from hpc_mlsm.runtime import once_a_node as module
from hpc_mlsm.scattering import histogram, neighbours
from hpc_mlsm.scattering.compiled import compile_kernels, kernels_stamp
from hpc_mlsm.scattering.engines import simulate_structure
from hpc_mlsm.scattering.settings import PdfSettings
from hpc_mlsm.structures.starter import starter_set

module.PATIENCE_S = 600.0
module.once_a_node(kernels_stamp(), compile_kernels)
compiled = numba.core.dispatcher.Dispatcher
kernels = [k for m in (histogram, neighbours) for k in vars(m).values() if isinstance(k, compiled)]
before = sum(sum(kernel.stats.cache_misses.values()) for kernel in kernels)
for structure in starter_set()[::40]:
    simulate_structure(structure, PdfSettings(variants=2, diameter=(0.0, 40.0), q_max=(19.0, 27.0)))
print(before, sum(sum(kernel.stats.cache_misses.values()) for kernel in kernels) - before)
"""


def test_one_of_several_processes_compiles_all_that_is_used_and_the_others_nothing(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", SIMULATE]
    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    compiled_by = [tuple(map(int, process.communicate(timeout=600)[0].split())) for process in processes]
    assert sorted(first > 0 for first, _ in compiled_by) == [False, False, True]
    assert [later for _, later in compiled_by] == [0, 0, 0]


def test_changed_kernels_have_another_stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = compiled.kernels_stamp()
    assert compiled.kernels_stamp() == before
    copy = tmp_path / "histogram.py"
    copy.write_text("# other code\n")
    monkeypatch.setattr(compiled.histogram, "__file__", str(copy))
    assert compiled.kernels_stamp() != before
