"""What the ranks of a launch run in tests: ``launch_driver.py KIND FOLDER CASE``; reports in FOLDER/report.json."""

import json
import os
import signal
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from hpc_mlsm.errors import HpcMlsmError
from hpc_mlsm.runtime.events import Event, Note, WorkerLost
from hpc_mlsm.runtime.executor import Executor
from hpc_mlsm.runtime.factory import make_executor, take_place
from hpc_mlsm.runtime.settings import ExecutorSettings
from hpc_mlsm.runtime.signals import RESUME_STATUS, Interrupted


@dataclass(frozen=True)
class Work:
    id: str
    n: int
    folder: str = ""
    cost: float = 1.0
    units: int = 1


def square(task: Work) -> int:
    return task.n**2


def pick(task: Work) -> int:
    if task.n == 2:
        raise ValueError("two is wrong")
    return task.n


def die_once(task: Work) -> int:
    marker = Path(task.folder) / f"died-{task.id}"
    if task.n == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return task.n


def where(task: Work) -> tuple[int, str, str]:
    """Process of the worker, its scratch folder, and its thread count."""
    return os.getpid(), os.getcwd(), os.environ["OMP_NUM_THREADS"]


def linger(task: Work) -> int:
    (Path(task.folder) / f"started-{task.id}").touch()
    time.sleep(600)
    return task.n


def nap(task: Work) -> int:
    (Path(task.folder) / f"started-{task.id}").touch()
    time.sleep(0.3)
    return task.n


def works(n: int, folder: Path) -> list[Work]:
    return [Work(f"work-{i}", i, str(folder)) for i in range(n)]


def report(folder: Path, **values: object) -> None:
    path = folder / "report.json"
    content = json.loads(path.read_text()) if path.exists() else {}
    path.with_suffix(".new").write_text(json.dumps(content | values))
    path.with_suffix(".new").rename(path)


def results(executor: Executor, folder: Path) -> None:
    values = {o.task.n: o.value for o in executor.map_tasks(square, works(40, folder), stage="squares")}
    errors = {o.task.n: str(o.error) for o in executor.map_tasks(pick, works(5, folder), stage="pick") if o.error}
    pids = {o.value[0] for o in executor.map_tasks(where, works(60, folder), stage="where") if o.value}
    report(folder, values=values, errors=errors, workers=len(pids), capacity=executor.capacity)


def death(executor: Executor, folder: Path) -> None:
    events: list[Event] = []
    values = [o.value for o in executor.map_tasks(die_once, works(8, folder), stage="die", on_event=events.append)]
    lost = [event.reason for event in events if isinstance(event, WorkerLost)]
    report(folder, values=sorted(values), lost=len(lost), reason=lost[0])


def busy(executor: Executor, folder: Path) -> None:
    """Leave while workers are in the middle of long tasks."""
    outcomes = executor.map_tasks(linger, works(2, folder), stage="linger")
    threading.Timer(5.0, executor.shutdown).start()
    try:
        next(outcomes)
    except HpcMlsmError as error:
        report(folder, error=str(error))


def shown(executor: Executor, folder: Path) -> None:
    """Look at the dashboard, whose address is told."""
    events: list[Event] = []
    list(executor.map_tasks(square, works(2, folder), stage="squares", on_event=events.append))
    told = [event.text for event in events if isinstance(event, Note)]
    address = told[0].split()[7]
    with urllib.request.urlopen(address, timeout=20) as page:
        report(folder, told=told, page=page.read().decode()[:1000])


def failing(executor: Executor, folder: Path) -> None:
    list(executor.map_tasks(square, works(4, folder), stage="squares"))
    raise RuntimeError("the driver has failed")


def killed(executor: Executor, folder: Path) -> None:
    list(executor.map_tasks(linger, works(2, folder), stage="linger"))


def stopped(executor: Executor, folder: Path) -> None:
    try:
        list(executor.map_tasks(nap, works(10_000, folder), stage="nap"))
    except Interrupted as error:
        report(folder, error=str(error))
        sys.exit(RESUME_STATUS)


def twice(executor: Executor, folder: Path) -> None:
    executor.shutdown()
    try:
        make_executor(ExecutorSettings(kind=sys.argv[1]))  # type: ignore[arg-type]
    except HpcMlsmError as error:
        report(folder, error=str(error))


CASES = {case.__name__: case for case in (results, death, shown, busy, failing, killed, stopped, twice)}


def main() -> None:
    kind, folder, case = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    settings = ExecutorSettings(
        kind=kind,  # type: ignore[arg-type]
        interface="lo",
        memory_per_worker_mb=1000,
        grace_s=10,
        scratch=folder / "scratch",
        dashboard=case == "shown",
    )
    (folder / "scratch").mkdir(exist_ok=True)
    try:
        take_place(settings, folder)
        report(folder, driver=os.getpid())
        if case == "unused":
            return
        with make_executor(settings) as executor:
            report(folder, address=executor.client.scheduler.address)  # type: ignore[attr-defined]
            CASES[case](executor, folder)
    except HpcMlsmError as error:
        print(f"driver: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
