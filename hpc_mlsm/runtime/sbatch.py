"""Job scripts as text: one stage of a run, started, warned before its walltime, and put back into the queue."""

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.signals import RESUME_STATUS

if TYPE_CHECKING:
    from jinja2 import Environment, Template

_TEMPLATES = Path(__file__).parent / "templates"
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")


@dataclass(frozen=True)
class JobScript:
    """One job: what sbatch is asked for, and what runs.

    Attributes
    ----------
    stage
        Name of the stage, for files.
    name
        Name of the job.
    command
        Program and arguments, with the launcher in front where there is one.
    run, workdir
        Run directory, and the folder that relative paths in its configuration start from; absolute.
    memory
        Of a node, such as ``16G``.
    walltime
        As Slurm has it, such as ``2-00:00:00``.
    activate
        Shell lines, put into the script as they are.
    scratch
        Folder on the node, which may hold shell variables.
    threads
        Threads of OpenMP and BLAS; None gives each task all its cores.
    resumes_when_killed
        Whether the job comes back where a task of it was killed: the others end then, and can go on from a checkpoint.
    signal_before_s, max_idle_restarts
        See the site profile.
    """

    stage: str
    name: str
    command: tuple[str, ...]
    run: Path
    workdir: Path
    nodes: int = 1
    tasks_per_node: int = 1
    cpus_per_task: int = 1
    memory: str | None = None
    gpus: int = 0
    gpu_type: str | None = None
    walltime: str = "01:00:00"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    options: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    activate: tuple[str, ...] = ()
    scratch: str | None = None
    threads: int | None = None
    resumes_when_killed: bool = False
    signal_before_s: int = 300
    max_idle_restarts: int = 3

    @property
    def path(self) -> Path:
        """Where the script is kept in the run directory."""
        return self.run / "jobs" / f"{self.stage}.sh"

    @property
    def logs(self) -> Path:
        """Folder of the logs."""
        return self.run / "logs"

    def log(self, job_id: str) -> Path:
        """The log of the job with that number."""
        return self.logs / f"{self.stage}-{job_id}.log"


def render_script(job: JobScript) -> str:
    """The script of a job, for sbatch.

    Raises
    ------
    ExecutorError
        If a value holds characters that would end its line.
    """
    _refuse_control_characters(job)
    text = template("job.sh.j2")
    return text.render(
        job=job,
        options=list(_options(job)),
        run=str(job.run),
        logs=str(job.logs),
        resumable=resumable_part(job.max_idle_restarts, when_killed=job.resumes_when_killed),
    )


def render_probe(job: JobScript, launch: Sequence[str]) -> str:
    """The script of a short job that looks at its nodes: its command once a node, then ``launch`` where there is one.

    Raises
    ------
    ExecutorError
        If a value holds characters that would end its line.
    """
    _refuse_control_characters(job)
    unlike = ("--requeue", "--signal=", "--open-mode=")
    options = [option for option in _options(job) if not option.startswith(unlike)]
    text = template("probe.sh.j2")
    return text.render(job=job, options=[*options, "--no-requeue"], folder=str(job.run), launch=list(launch))


def _refuse_control_characters(job: JobScript) -> None:
    for value in (job.name, *job.command, str(job.run), str(job.workdir), job.scratch or ""):
        if value and not value.isprintable():
            raise ExecutorError(
                f"{value!r} cannot be written into a job script: it holds a line break or another control character; "
                "rename the file or folder"
            )


def resumable_part(max_idle_restarts: int, *, when_killed: bool = False) -> str:
    """The part of every job script that passes signals on, counts restarts and puts the job back into the queue."""
    text = template("resumable.sh.j2")
    return text.render(max_idle_restarts=max_idle_restarts, resume_status=RESUME_STATUS, when_killed=when_killed)


def _options(job: JobScript) -> Iterator[str]:
    """The options of sbatch, as its own reader of scripts takes them: quoted as by a shell."""
    yield f"--job-name={shlex.quote(job.name)}"
    yield f"--chdir={shlex.quote(str(job.workdir))}"
    log = str(job.logs / job.stage).replace("%", "%%")
    yield f"--output={shlex.quote(log + '-%j.log')}"
    yield "--open-mode=append"
    yield "--requeue"
    yield f"--signal=B:USR1@{job.signal_before_s}"
    yield f"--time={job.walltime}"
    yield f"--nodes={job.nodes}"
    yield f"--ntasks-per-node={job.tasks_per_node}"
    yield f"--cpus-per-task={job.cpus_per_task}"
    if job.gpus:
        yield f"--gres={shlex.quote(gpus(job.gpus, job.gpu_type))}"
    named = {
        "mem": job.memory,
        "partition": job.partition,
        "account": job.account,
        "qos": job.qos,
        "constraint": job.constraint,
    }
    for option, value in named.items():
        if value is not None:
            yield f"--{option}={shlex.quote(value)}"
    for own in job.options:
        option, equals, value = own.partition("=")
        yield f"{option}{equals}{shlex.quote(value) if value else ''}"


def gpus(number: int, kind: str | None) -> str:
    """So many GPUs of a node, of a kind where one is named, as Slurm's generic resources are written."""
    return f"gpu:{kind}:{number}" if kind else f"gpu:{number}"


def expandable(text: str) -> str:
    """Quote a text for the shell, but leave ``$NAME`` and ``${NAME}`` in it to be filled in there."""
    parts: list[str] = []
    end = 0
    for match in _VARIABLE.finditer(text):
        parts.append(_quoted(text[end : match.start()]))
        parts.append(f'"${{{match[1] or match[2]}}}"')
        end = match.end()
    return "".join([*parts, _quoted(text[end:])])


def _quoted(text: str) -> str:
    return shlex.quote(text) if text else ""


def template(name: str) -> "Template":
    """A template of this package, with the filters ``quote`` and ``expandable``."""
    return _environment().get_template(name)


def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["quote"] = lambda value: shlex.quote(
        os.fspath(value) if isinstance(value, Path) else str(value)
    )
    environment.filters["expandable"] = expandable
    return environment
