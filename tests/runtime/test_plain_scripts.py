"""The job scripts for people who call sbatch themselves are as the template renders them now."""

import subprocess
from pathlib import Path

import pytest

from hpc_mlsm.cli.main import app
from hpc_mlsm.runtime.plain_scripts import PLAIN_SCRIPTS, PlainScript, render_plain

ROOT = Path(__file__).resolve().parents[2]
STAGES = ["ingest", "simulate", "group", "train", "evaluate", "predict", "report"]


def test_every_stage_has_one_and_there_are_no_others() -> None:
    assert [own.stage for own in PLAIN_SCRIPTS] == ["run", *STAGES]
    assert {path.stem for path in (ROOT / "jobs").glob("*.sbatch")} == set(STAGES)
    known = {command.callback.__name__ for command in app.registered_commands if command.callback}
    assert {own.stage for own in PLAIN_SCRIPTS} <= known


@pytest.mark.parametrize("own", PLAIN_SCRIPTS, ids=lambda own: own.stage)
def test_a_script_is_current_and_valid_shell(own: PlainScript) -> None:
    text = (ROOT / own.path).read_text()
    assert text == render_plain(own), "python -m hpc_mlsm.runtime.plain_scripts writes them anew"
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0
    assert f'hpc-mlsm {own.stage} "${{arguments[@]}}"' in text
    assert text.index("#SBATCH --time") < text.index("say()")
