"""A run: a directory that holds a resolved configuration and every stage's output."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from hpc_mlsm import __version__
from hpc_mlsm.config.load import load_config, parse_config, plain
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.durable import write_durably
from hpc_mlsm.errors import RunError

SCHEMA_VERSION = 1
"""Of the layout of a run directory; others are refused."""


@dataclass(frozen=True)
class RunDirectory:
    """Paths inside a run directory; ``kind`` is that of the patterns which the run is about."""

    path: Path
    kind: str = "pdf"

    @property
    def config_file(self) -> Path:
        """The resolved configuration."""
        return self.path / "run.yaml"

    @property
    def catalogue(self) -> Path:
        """All structures and rejects, SQLite."""
        return self.path / "catalog.sqlite"

    @property
    def patterns(self) -> Path:
        """Store of simulated patterns."""
        return self.path / "patterns" / self.kind

    @property
    def groups(self) -> Path:
        """Groups and the edges they come from."""
        return self.path / "groups"

    @property
    def model(self) -> Path:
        """Bundle of the boosted trees."""
        return self.path / "models" / "boosted"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints of a training that has not finished."""
        return self.path / "models" / "boosted-checkpoints"

    @property
    def evaluation(self) -> Path:
        """Scores of the bundle; inside it, so that they go when it is replaced."""
        return self.model / "evaluation.json"

    @property
    def predictions(self) -> Path:
        """Tables of candidates."""
        return self.path / "predictions"

    @property
    def refinement(self) -> Path:
        """The series that was refined, shards and tables of its fits."""
        return self.path / "refinement"

    @property
    def archive(self) -> Path:
        """What belongs to the archive that the run is about: its index, frames on the model's grid, and results."""
        return self.path / "archive"

    @property
    def decomposition(self) -> Path:
        """The archive's series taken apart."""
        return self.archive / "decomposition.h5"

    @property
    def morning_report(self) -> Path:
        """The HTML report of the archive."""
        return self.path / "reports" / "archive.html"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.path / "reports" / "report.html"

    @property
    def events(self) -> Path:
        """Log of task events, JSON lines."""
        return self.path / "logs" / "events.jsonl"

    def load(self, overrides: Sequence[str] = ()) -> RunConfig:
        """The configuration of an existing run, with overrides.

        Raises
        ------
        RunError
            If this is no run directory, or one of another version.
        """
        try:
            raw = yaml.safe_load(self.config_file.read_text())
        except FileNotFoundError as error:
            raise RunError(f"{self.path} is no run directory: {self.config_file.name} is missing") from error
        except (OSError, yaml.YAMLError) as error:
            raise RunError(f"{self.config_file} cannot be read: {error}") from error
        found = raw.get("schema") if isinstance(raw, dict) else None
        if found != SCHEMA_VERSION or not isinstance(raw.get("config"), dict):
            raise RunError(
                f"{self.path} was made with run schema {found}, this program ({__version__}) reads {SCHEMA_VERSION}; "
                "start a new run directory with --run, or use the version of the program that made it"
            )
        return parse_config(raw["config"], overrides, str(self.config_file))

    def save(self, config: RunConfig) -> None:
        """Write the resolved configuration."""
        content = {"schema": SCHEMA_VERSION, "code_version": __version__, "config": plain(config)}
        write_durably(self.config_file, yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())


def resolve(target: Path, run: Path | None, overrides: Sequence[str]) -> tuple[RunDirectory, RunConfig]:
    """The run directory and configuration that a command is about.

    ``target`` is a run directory, or a YAML file; a file's run is ``run``, by default ``runs/`` and the file's name. An
    existing directory of another schema is refused before anything in it is touched.
    """
    if target.is_dir():
        config = RunDirectory(target).load(overrides)
        return RunDirectory(target, config.simulate.kind), config
    config = load_config(target, overrides)
    directory = RunDirectory(run or Path("runs") / config.name, config.simulate.kind)
    if directory.config_file.exists():
        directory.load()
    return directory, config
