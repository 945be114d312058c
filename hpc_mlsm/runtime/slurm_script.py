"""What the jobs of the Slurm executor ask for, and what they set up before their workers start."""

import math
import signal
from pathlib import Path
from typing import Any

import dask

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.dask_executor import DASK_SETTINGS
from hpc_mlsm.runtime.dask_worker import ONE_THREAD
from hpc_mlsm.runtime.settings import SlurmSettings

JOB_NAME = "hpc-mlsm"

NANNY_MB = 250
"""What the process that watches over a worker needs besides it."""

DEATH_TIMEOUT_S = 120
"""A worker that cannot reach its scheduler for this long ends."""

SPARE_S = 30
"""How long before the walltime a worker is gone at the latest, beyond the grace of its tasks."""

LEAST_LIFETIME_S = 30

_WORKER_SETTINGS = ("distributed.worker.", "distributed.nanny.", "distributed.scheduler.http")

# Code is loaded from it, so it must be the user's own and closed to others.
_NUMBA_CACHE = (
    'numba_cache="${TMPDIR:-/tmp}/hpc_mlsm-numba-$(id -u)"',
    'mkdir -m 700 "$numba_cache" 2>/dev/null || true',
    'if [ -L "$numba_cache" ] || [ "$(stat -c %u:%a "$numba_cache" 2>/dev/null)" != "$(id -u):700" ]; then',
    '    numba_cache="$(mktemp -d)"',
    "fi",
    'export NUMBA_CACHE_DIR="${NUMBA_CACHE_DIR:-$numba_cache}"',
)


def load_jobqueue() -> Any:
    """The module ``dask_jobqueue``, which also reads ``jobqueue.yaml``, without the handler of Ctrl-C that it sets."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        import dask_jobqueue
    except ModuleNotFoundError as error:
        raise ExecutorError(f'executor slurm needs {error.name}: pip install "hpc_mlsm[cluster]"') from error
    finally:
        if signal.getsignal(signal.SIGINT) is not handler:
            signal.signal(signal.SIGINT, handler)
    return dask_jobqueue


def job_options(
    settings: SlurmSettings,
    memory_per_worker_mb: int | None,
    grace_s: float,
    scratch: Path | None = None,
    interface: str | None = None,
) -> dict[str, Any]:
    """Arguments of ``SLURMCluster`` for one job; what is not set is left to Dask's ``jobqueue.yaml``.

    Raises
    ------
    ExecutorError
        If memory or walltime are missing or too small, or the folder's name cannot stand in a job script.
    """
    if settings.folder is None:
        raise ExecutorError("say which folder all nodes share, for logs of jobs: executor.slurm.folder")
    folder = settings.folder.absolute()
    if any(character.isspace() or character == "%" for character in str(folder)):
        raise ExecutorError(f"job scripts cannot name {folder}: choose an executor.slurm.folder without blanks and %")
    load_jobqueue()
    walltime = settings.walltime or _configured("walltime")
    per_job = settings.workers_per_job
    return {
        "queue": settings.partition,
        "account": settings.account,
        "walltime": walltime,
        "cores": per_job,
        "processes": per_job,
        "job_cpu": per_job * settings.cores_per_worker,
        "interface": interface or _configured("interface"),
        "job_name": JOB_NAME,
        "log_directory": str(folder),
        # One log for each job instead of two.
        "job_directives_skip": [*_listed("job-directives-skip"), f"#SBATCH -e {folder}/", f"#SBATCH -o {folder}/"],
        "local_directory": str(scratch) if scratch else None,
        "death_timeout": DEATH_TIMEOUT_S,
        # The executor replaces lost jobs at once; Slurm would after minutes, and after the executor is gone.
        "job_extra_directives": [
            "--no-requeue",
            f"--output={folder}/{JOB_NAME}-%j.log",
            *_listed("job-extra-directives"),
            *settings.sbatch,
        ],
        "job_script_prologue": [*_listed("job-script-prologue"), *settings.prologue, *_environment()],
        "worker_extra_args": [*_listed("worker-extra-args"), *_worker_arguments(walltime, grace_s)],
        **_memory(memory_per_worker_mb, per_job),
    }


def seconds(walltime: str) -> int:
    """A time as Slurm writes it: minutes, minutes:seconds, hours:minutes:seconds, days-hours[:minutes[:seconds]].

    Raises
    ------
    ExecutorError
        If it is none of these.
    """
    days, dash, clock = walltime.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdigit() for part in parts) or len(parts) > 3 or (dash and not days.isdigit()):
        raise ExecutorError(f"walltime {walltime!r} is no time of Slurm's: write it as 02:30:00 or 1-12:00:00")
    numbers = [int(part) for part in parts]
    if dash:
        hours, minutes, rest = (*numbers, 0, 0)[:3]
    elif len(numbers) == 3:
        hours, minutes, rest = numbers
    else:
        hours, minutes, rest = 0, numbers[0], (*numbers, 0)[1]
    return int(days or 0) * 86_400 + hours * 3600 + minutes * 60 + rest


def lifetime(walltime: str, grace_s: float) -> tuple[int, int]:
    """How long workers live, and how much sooner or later than that one may end (both in s).

    Raises
    ------
    ExecutorError
        If nothing is left of the walltime.
    """
    wall = seconds(walltime)
    stagger = min(300, wall // 20)
    lives = wall - math.ceil(grace_s) - SPARE_S - stagger
    if lives < LEAST_LIFETIME_S:
        raise ExecutorError(
            f"a walltime of {walltime} leaves workers {max(lives, 0)} s: {grace_s:g} s of grace, {SPARE_S} s to end "
            f"and {stagger} s of stagger are taken off. Ask for more walltime, or set a smaller executor.grace_s"
        )
    return lives, stagger


def _worker_arguments(walltime: str | None, grace_s: float) -> list[str]:
    arguments = ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    if walltime:
        lives, stagger = lifetime(walltime, grace_s)
        arguments += ["--lifetime", f"{lives}s", "--lifetime-stagger", f"{stagger}s"]
    return arguments


def _memory(per_worker_mb: int | None, per_job: int) -> dict[str, Any]:
    if per_worker_mb is None:
        if _configured("memory") is None:
            raise ExecutorError("say how much memory a worker may use: executor.memory_per_worker_mb")
        return {}
    # Slurm counts in MiB.
    job_mib = math.ceil(per_job * (per_worker_mb + NANNY_MB) * 1e6 / 2**20)
    return {"memory": f"{per_job * per_worker_mb} MB", "job_mem": f"{job_mib}M"}


def _environment() -> list[str]:
    """Lines of the job script: the environment of the workers."""
    told = {key: value for key, value in DASK_SETTINGS.items() if key.startswith(_WORKER_SETTINGS) and value != {}}
    names = {f"DASK_{key.upper().replace('.', '__').replace('-', '_')}": value for key, value in told.items()}
    lines = [f"export {name}={value}" for name, value in ONE_THREAD.items()]
    return [*lines, *(f"export {name}='{value}'" for name, value in names.items()), *_NUMBA_CACHE]


def _configured(key: str) -> Any:
    return dask.config.get(f"jobqueue.slurm.{key}", None)


def _listed(key: str) -> list[str]:
    return list(_configured(key) or [])
