"""Job scripts, as text."""

import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.sbatch import JobScript, expandable, render_script, resumable_part

ROOT = Path(__file__).resolve().parents[2]
PLAIN = JobScript("train", "pdf.train", ("hpc-mlsm", "train", "/runs/pdf"), Path("/runs/pdf"), Path("/work"))
ODD = 'it\'s a "run" with $HOME, `ls`, a \\ and ; & | * é'


def options(job: JobScript) -> list[str]:
    """The #SBATCH lines, without that word."""
    return [line[8:] for line in render_script(job).splitlines() if line.startswith("#SBATCH ")]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({}, "--job-name=pdf.train"),
        ({}, "--chdir=/work"),
        ({}, "--output=/runs/pdf/logs/train-%j.log"),
        ({}, "--open-mode=append"),
        ({}, "--requeue"),
        ({}, "--signal=B:USR1@300"),
        ({"signal_before_s": 90}, "--signal=B:USR1@90"),
        ({"walltime": "2-00:00:00"}, "--time=2-00:00:00"),
        ({"nodes": 4}, "--nodes=4"),
        ({"tasks_per_node": 64}, "--ntasks-per-node=64"),
        ({"cpus_per_task": 16}, "--cpus-per-task=16"),
        ({"memory": "240G"}, "--mem=240G"),
        ({"gpus": 2}, "--gres=gpu:2"),
        ({"gpus": 2, "gpu_type": "a100"}, "--gres=gpu:a100:2"),
        ({"partition": "long"}, "--partition=long"),
        ({"account": "crystals"}, "--account=crystals"),
        ({"qos": "high"}, "--qos=high"),
        ({"constraint": "a100|h100"}, "--constraint='a100|h100'"),
        ({"options": ("--exclusive", "--reservation=beam time")}, "--reservation='beam time'"),
        ({"options": ("--exclusive",)}, "--exclusive"),
        ({"name": "my run"}, "--job-name='my run'"),
        ({"run": Path("/runs/100%")}, "--output=/runs/100%%/logs/train-%j.log"),
    ],
)
def test_a_parameter_becomes_an_option_of_sbatch(change: dict[str, Any], line: str) -> None:
    assert line in options(replace(PLAIN, **change))


@pytest.mark.parametrize("option", ["mem", "gres", "partition", "account", "qos", "constraint"])
def test_what_is_not_asked_for_is_left_to_the_cluster(option: str) -> None:
    assert not [line for line in options(PLAIN) if line.startswith(f"--{option}")]


def test_options_come_before_the_first_command_or_sbatch_would_not_see_them() -> None:
    lines = render_script(replace(PLAIN, memory="1G", options=("--exclusive",))).splitlines()
    assert lines[0] == "#!/bin/bash"
    number = sum(line.startswith("#SBATCH") for line in lines)
    assert all(line.startswith("#SBATCH") for line in lines[1 : number + 1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"modules": ("gcc/12", "my module")}, "module load gcc/12 'my module' ||"),
        ({"activate": ("source ~/x/activate  # mine",)}, "    source ~/x/activate  # mine\n}"),
        ({"threads": 1}, "export OMP_NUM_THREADS=1\n"),
        ({}, "export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}\n"),
        ({"scratch": "/scratch/$USER/x y"}, "export TMPDIR=/scratch/\"${USER}\"'/x y'\n"),
        ({"scratch": "/s", "nodes": 3}, 'srun --nodes=3 --ntasks=3 mkdir -p "$TMPDIR"'),
        ({"command": ("srun", "hpc-mlsm", "a b")}, "\nrun_resumable srun hpc-mlsm 'a b'\n"),
        ({"max_idle_restarts": 7}, '[ "$idle" -gt 7 ]'),
    ],
)
def test_a_parameter_becomes_a_line_of_the_script(change: dict[str, Any], words: str) -> None:
    assert words in render_script(replace(PLAIN, **change))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"run": Path("/") / ODD, "workdir": Path("/") / ODD, "name": ODD, "command": (ODD, ODD)},
        {"modules": ("a", ODD), "activate": ("source x # comment", "if true; then echo; fi"), "scratch": f"/{ODD}"},
        {"nodes": 3, "tasks_per_node": 5, "scratch": "$TMPDIR", "threads": 1, "gpus": 1, "qos": ODD},
    ],
)
def test_every_script_is_valid_shell(change: dict[str, Any]) -> None:
    text = render_script(replace(PLAIN, **change))
    done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_value_is_taken_for_a_command() -> None:
    text = render_script(replace(PLAIN, run=Path("/") / ODD, command=("program", ODD)))
    line = next(line for line in text.splitlines() if line.startswith("run_resumable "))
    assert shlex.split(line) == ["run_resumable", "program", ODD]
    assert shlex.split(next(line for line in text.splitlines() if line.startswith("run="))) == [f"run=/{ODD}"]


def test_a_line_break_in_a_value_is_refused() -> None:
    with pytest.raises(ExecutorError, match=r"cannot be written into a job script.*rename"):
        render_script(replace(PLAIN, run=Path("/runs/a\n#SBATCH --nodes=9")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/scratch", "/scratch"),
        ("$TMPDIR", "/tmp/job"),
        ("/s/${WHO}/$WHO-x", "/s/me/me-x"),
        ("/s/$(id)`id`$5 'x", "/s/$(id)`id`$5 'x"),
    ],
)
def test_of_a_scratch_folder_only_variables_are_filled_in(text: str, expected: str) -> None:
    command = ["bash", "-c", f"printf %s {expandable(text)}"]
    environment = {"TMPDIR": "/tmp/job", "WHO": "me"}
    assert subprocess.run(command, env=environment, text=True, capture_output=True, check=True).stdout == expected


def test_the_script_for_a_whole_run_has_the_same_common_part() -> None:
    script = (ROOT / "slurm" / "run.sbatch").read_text()
    limit = re.search(r'\[ "\$idle" -gt (\d+) \]', script)
    assert limit
    assert resumable_part(int(limit[1])) in script
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
