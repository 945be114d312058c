"""The kernels are compiled as a whole, and by one of several processes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hpc_mlsm.scattering import compiled
from hpc_mlsm.scattering.powder.settings import PowderSettings
from hpc_mlsm.scattering.settings import PdfSettings

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "run"

SIMULATE = """
import sys
from functools import partial
from pathlib import Path
import numba
from hpc_mlsm.config.load import load_config
from hpc_mlsm.runtime import once_a_node as module
from hpc_mlsm.scattering.compiled import compile_kernels, kernels_stamp
from hpc_mlsm.scattering.engines import simulate_structure
from hpc_mlsm.structures.starter import starter_set

settings = load_config(Path(sys.argv[1]), ["simulate.variants=10"]).simulate
module.PATIENCE_S = 600.0
module.once_a_node(kernels_stamp(settings), partial(compile_kernels, settings))
compiled = numba.core.dispatcher.Dispatcher
modules = [module for name, module in sys.modules.items() if name.startswith("hpc_mlsm.scattering")]
kernels = {id(k): k for m in modules for k in vars(m).values() if isinstance(k, compiled)}.values()
before = sum(sum(kernel.stats.cache_misses.values()) for kernel in kernels)
for structure in starter_set()[10::30]:
    simulate_structure(structure, settings)
print(before, sum(sum(kernel.stats.cache_misses.values()) for kernel in kernels) - before)
"""


@pytest.mark.parametrize("name", ["pdf", "powder-realistic"])
def test_one_of_several_processes_compiles_all_that_is_used_and_the_others_nothing(name: str, tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", SIMULATE, str(CONFIGS / f"{name}.yaml")]
    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    compiled_by = [tuple(map(int, process.communicate(timeout=600)[0].split())) for process in processes]
    assert sorted(first > 0 for first, _ in compiled_by) == [False, False, True]
    assert [later for _, later in compiled_by] == [0, 0, 0]


def test_changed_code_and_other_patterns_have_another_stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(compiled.FOLDER, tmp_path / "scattering")
    monkeypatch.setattr(compiled, "FOLDER", folder)
    before = compiled.kernels_stamp(PdfSettings())
    assert compiled.kernels_stamp(PdfSettings(variants=7)) == before
    assert compiled.kernels_stamp(PowderSettings()) != before
    (folder / "powder" / "lines.py").write_text("# other code\n")
    assert compiled.kernels_stamp(PdfSettings()) != before
