"""The program as a user calls it for a cluster, with a stand-in for Slurm's commands or with those of a real one."""

import contextlib
import io
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hpc_mlsm.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
STAGES = ["ingest", "simulate", "group", "train", "evaluate", "predict", "report"]
CONFIG = {
    "name": "metals",
    "select": {"allowed": ["Ni", "Cu", "Al", "Fe", "W", "Mg", "Si", "O"]},
    "simulate": {"variants": 12, "grid": {"r_max": 15.0}},
    "train": {"boosted": {"rounds": 5, "max_depth": 3}},
    "predict": {"samples": 2},
}

SBATCH = """#!/bin/bash
echo "sbatch $*" >>"$ASKED"
[ -z "${MEANWHILE:-}" ] || [ -e "$ASKED.meanwhile" ] || bash -c "$MEANWHILE" >"$ASKED.meanwhile" 2>&1
case ${@: -1} in *"${REFUSED:-nothing}.sh")
    echo "sbatch: error: Batch job submission failed: $REASON" >&2
    exit 1
esac
echo "$((100 + $(grep -c ^sbatch "$ASKED")));cluster"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a configuration, a site, and programs that stand in for Slurm's."""
    (tmp_path / "metals.yaml").write_text(yaml.safe_dump(CONFIG))
    (tmp_path / "site.yaml").write_text("partition: nowhere\naccount: crystals\nstages: {train: {memory: 9000G}}\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    queue = '#!/bin/bash\ncat "$QUEUE" 2>/dev/null || true\n'
    scancel = '#!/bin/bash\necho "scancel $*" >>"$ASKED"\n'
    for name, text in {"sbatch": SBATCH, "squeue": queue, "scancel": scancel}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return tmp_path


def hpc_mlsm(
    folder: Path, *arguments: object, slurm: bool = True, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """The program as a user runs it, but in this process, which has loaded its libraries already."""
    path = f"{folder / 'bin'}:/usr/bin:/bin" if slurm else str(folder)
    own = {"PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "TERM": "dumb", "HOME": str(folder)}
    own |= {"ASKED": str(folder / "asked"), "QUEUE": str(folder / "queue")}
    out, err, status = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["hpc-mlsm", *map(str, arguments)])
        for name, value in (own | environment).items():
            patch.setenv(name, value)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as ended:
                status = int(ended.code or 0)
    return subprocess.CompletedProcess(sys.argv, status, out.getvalue(), err.getvalue())


def real(folder: Path, conf: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the program with the real cluster's commands."""
    return hpc_mlsm(folder, *arguments, slurm=True, PATH=os.environ["PATH"], SLURM_CONF=str(conf))


def commands(folder: Path, site: str) -> dict[str, list[str]]:
    """The words that each stage's script runs."""
    result = hpc_mlsm(folder, "submit", "metals.yaml", "--site", site, "--dry-run", "--run", "my run")
    lines = [line for line in result.stdout.splitlines() if line.startswith("run_resumable ")]
    return dict(zip(STAGES, (shlex.split(line)[1:] for line in lines), strict=True))
