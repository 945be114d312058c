"""Job scripts for people who call sbatch themselves: ``slurm/run.sbatch``, and ``jobs/STAGE.sbatch`` for each stage.

They are kept in the repository as ``python -m hpc_mlsm.runtime.plain_scripts`` writes them.
"""

from dataclasses import dataclass
from pathlib import Path

from hpc_mlsm.runtime.sbatch import JobScript, resumable_part, template

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class PlainScript:
    """A command of the program as a job, and what it asks for where nothing else is said."""

    stage: str
    what: str
    cpus: int
    walltime: str

    @property
    def path(self) -> str:
        """In the repository."""
        return "slurm/run.sbatch" if self.stage == "run" else f"jobs/{self.stage}.sbatch"

    @property
    def log(self) -> str:
        """Name of the job, and the beginning of its log's."""
        return "hpc-mlsm" if self.stage == "run" else f"hpc-mlsm-{self.stage}"


PLAIN_SCRIPTS = (
    PlainScript("run", "A whole run inside one allocation.", 4, "04:00:00"),
    PlainScript("ingest", "Structures into the catalogue.", 4, "01:00:00"),
    PlainScript("simulate", "Patterns of all structures.", 16, "04:00:00"),
    PlainScript("group", "Groups of structures whose patterns correlate.", 16, "01:00:00"),
    PlainScript("train", "The classifier.", 16, "12:00:00"),
    PlainScript("evaluate", "Scores of the classifier.", 4, "01:00:00"),
    PlainScript("predict", "Structures that measured patterns may come from.", 4, "01:00:00"),
    PlainScript("report", "The HTML report.", 2, "00:30:00"),
)


def render_plain(own: PlainScript) -> str:
    """The text of a script."""
    part = resumable_part(JobScript.max_idle_restarts).rstrip("\n")
    return template("plain.sbatch.j2").render(own=own, resumable=part)


if __name__ == "__main__":
    for script in PLAIN_SCRIPTS:
        (ROOT / script.path).write_text(render_plain(script))
