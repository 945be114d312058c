"""Doctor of one machine: what can be checked where it is called, and the folder in which things are tried out."""

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpc_mlsm.errors import ExecutorError, RunError
from hpc_mlsm.runtime.probes import packages
from hpc_mlsm.runtime.probes.disk import check_folder, check_scratch
from hpc_mlsm.runtime.probes.finding import Finding
from hpc_mlsm.runtime.probes.gpu import check_gpus
from hpc_mlsm.runtime.probes.network import Listener, check_clock, check_interface, check_reach
from hpc_mlsm.runtime.probes.ranks import LOG, STATUS, check_launch
from hpc_mlsm.runtime.probes.shared import SharedFolder, check_lock, check_rename
from hpc_mlsm.stages.run_directory import RunDirectory

HERE = "this machine"


def examine_machine(run: Path | None) -> Iterator[Finding]:
    """Checks of this machine alone."""
    with trial_folder(run) as folder:
        yield packages.check_packages(HERE, packages.this_environment(), ())
        yield from _network_here(folder)
        yield check_rename_of_one(folder)
        yield check_lock(HERE, folder)
        yield from check_folder("run folder", HERE, folder)
        yield from check_scratch(HERE, tempfile.gettempdir(), folder)
        yield from check_gpus(HERE, None)
        yield _launch_here(folder)


def check_rename_of_one(folder: Path, where: str = HERE) -> Finding:
    """Renamed files are seen whole by another process of the same node."""
    with SharedFolder(folder):
        return check_rename(where, folder)


def _network_here(folder: Path) -> Iterator[Finding]:
    yield check_interface(HERE, None)
    try:
        with Listener(folder, None) as listener:
            found, exchange = check_reach(HERE, "itself", listener.address, listener.port, folder)
            yield found
            if exchange is not None:
                yield check_clock(HERE, exchange.skew_s, exchange.delay_s / 2, "itself")
    except (ExecutorError, OSError) as error:
        yield Finding("listens for workers", HERE, "warning", str(error), "only local and inline executors work here")


def _launch_here(folder: Path) -> Finding:
    if shutil.which("mpirun") is None:
        return Finding("launch by mpirun", HERE, "not asked for", "no mpirun here, which only executor mpi needs")
    words = [sys.executable, "-m", "hpc_mlsm.cli.main", "doctor-rank", str(folder), "mpi"]
    command = ["mpirun", "-n", "2", "--oversubscribe", *words]
    with (folder / LOG).open("w") as log:
        try:
            done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, timeout=90, check=False)
            (folder / STATUS).write_text(str(done.returncode))
        except subprocess.TimeoutExpired:
            (folder / STATUS).write_text("none within 90 s")
    return check_launch(HERE, folder, "mpi", "mpirun", needed=False)


@contextmanager
def trial_folder(run: Path | None) -> Iterator[Path]:
    """A folder of its own for what is tried out, where runs are: in the run's logs, which no stage looks at."""
    base = run or Path("runs")
    if RunDirectory(base).config_file.exists():
        base = base / "logs"
    made = not base.exists()
    try:
        base.mkdir(parents=True, exist_ok=True)
        found = Path(tempfile.mkdtemp(prefix="doctor-", dir=base)).resolve()
    except OSError as error:
        raise RunError(
            f"{base} cannot be written: {error.strerror or error}. Name a folder for runs that all nodes share with "
            "--run"
        ) from error
    found.chmod(0o700)
    try:
        yield found
    finally:
        shutil.rmtree(found, ignore_errors=True)
        if made:
            with contextlib.suppress(OSError):
                base.rmdir()
