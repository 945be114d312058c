"""The commands on archives: ``archive``, all steps or some of them, and ``decompose``."""

import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from hpc_mlsm.cli import summaries
from hpc_mlsm.cli.run_in_use import opened
from hpc_mlsm.config.load import parse_config
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.config.yaml_text import read_yaml
from hpc_mlsm.errors import ConfigError
from hpc_mlsm.stages import archive
from hpc_mlsm.stages.run_directory import RunDirectory


def run_archive(
    targets: list[str], model: Path | None, out: Path | None, config: Path | None, overrides: list[str], only: list[str]
) -> None:
    """Run the steps of an archive run, or some of them, and print what each did."""
    wrong = [step for step in only if step not in archive.STEPS]
    if wrong:
        raise ConfigError(f"--only: found {wrong[0]!r}; the steps are {', '.join(archive.STEPS)}")
    if model is not None:
        overrides = [*overrides, f"predict.model={json.dumps(str(model.resolve()))}"]
    directory, settings = _resolve(targets, out, config, overrides)
    start = time.monotonic()
    with opened(directory, settings) as (context, console):
        steps = only or archive.steps_of(context.config.predict)
        for step in [one for one in archive.STEPS if one in steps]:
            _print(console, step, archive.run_step(context, step))
    console.print(f"finished in {time.monotonic() - start:.0f} s", highlight=False)


def _resolve(
    targets: list[str], out: Path | None, config: Path | None, overrides: list[str]
) -> tuple[RunDirectory, RunConfig]:
    """The run and its configuration: of an existing run, or of an archive and where its answers are to go."""
    if len(targets) == 1 and (RunDirectory(Path(targets[0])).config_file).is_file():
        directory = RunDirectory(Path(targets[0]))
        return directory, directory.load(overrides)
    if len(targets) == 1 and targets[0].endswith((".yaml", ".yml")):
        config, targets = Path(targets[0]), []
    raw: dict[str, Any] = read_yaml(config) if config else {"name": "archive"}
    if targets:
        raw = raw | {"predict": {**(raw.get("predict") or {}), "patterns": targets}}
    settings = parse_config(raw, overrides, str(config or "archive"))
    if not settings.predict.patterns or settings.predict.model is None:
        raise ConfigError(
            "name the archive (a folder, a zip or tar file, or file.h5::/dataset) and the trained model (--model), in "
            "a configuration predict.patterns and predict.model"
        )
    directory = RunDirectory(out or Path("runs") / settings.name)
    if directory.config_file.exists():
        directory.load()  # refuses a run of another version before anything in it is touched
    return directory, settings


def _print(console: Console, step: str, summary: Any) -> None:
    console.print(summaries.archive_line(step, summary), soft_wrap=True, highlight=False)
