"""The program answers a question for help without loading what only the stages need."""

import subprocess
import sys

NOT_FOR_HELP = (
    "dask",
    "distributed",
    "gemmi",
    "h5py",
    "hdf5plugin",
    "matplotlib",
    "numba",
    "numpy",
    "pyarrow",
    "pydantic",
    "scipy",
    "sklearn",
    "spglib",
    "tensorflow",
    "xgboost",
    "yaml",
)


def loaded_by(code: str) -> set[str]:
    """Top-level names of the modules that a fresh interpreter has loaded after running the code."""
    report = "; import sys; print('|'.join({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code + report], check=True, capture_output=True, text=True)
    return set(done.stdout.splitlines()[-1].split("|"))


def test_the_command_line_loads_nothing_that_only_stages_need() -> None:
    assert loaded_by("import hpc_mlsm.cli.main").isdisjoint(NOT_FOR_HELP)


def test_help_on_a_command_loads_nothing_that_only_stages_need() -> None:
    code = "from hpc_mlsm.cli.main import app; app(['predict', '--help'], standalone_mode=False)"
    # Newer versions of typer read parameters with pydantic themselves.
    assert loaded_by(code).isdisjoint(set(NOT_FOR_HELP) - {"pydantic"})


def test_the_check_would_see_a_heavy_import() -> None:
    assert "numpy" in loaded_by("import hpc_mlsm.scattering.normalise")
