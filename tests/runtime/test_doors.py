"""Who gets in to the workers of this machine: holders of the certificate, and on the dashboard, this machine only."""

import getpass
import json
import platform
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import psutil
import pytest
from batches import batches, total
from dask.distributed import Client, Security

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.dashboard import how_to_reach
from hpc_mlsm.runtime.events import Event, Note
from hpc_mlsm.runtime.local import LocalExecutor


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    with LocalExecutor(1) as made:
        yield made


def test_a_client_without_the_certificate_is_refused(executor: LocalExecutor) -> None:
    address = executor._cluster.scheduler_address
    assert address.startswith("tls://127.0.0.1:")
    assert all(worker.startswith("tls://127.0.0.1:") for worker in executor.workers())
    with pytest.raises(OSError, match="TLS certificate does not match"):
        Client(address, security=Security.temporary(), set_as_default=False, timeout=2)
    for door in (address, executor.workers()[0]):
        port = door.rpartition(":")[2]
        program = f"from dask.distributed import Client; print(Client('tcp://127.0.0.1:{port}', timeout=2).nthreads())"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (1, "")


def test_the_certificate_is_in_no_argument_and_no_environment_of_a_process(executor: LocalExecutor) -> None:
    for process in psutil.Process().children(recursive=True):
        told = json.dumps([process.cmdline(), process.environ()])
        assert "PRIVATE KEY" not in told


def test_a_missing_library_for_certificates_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cryptography", "cryptography.x509", "cryptography.hazmat", "cryptography.hazmat.primitives"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ExecutorError, match="pip install cryptography"):
        LocalExecutor(1)


def test_the_dashboard_is_on_loopback_and_the_way_to_it_is_told() -> None:
    pytest.importorskip("bokeh")
    events: list[Event] = []
    with LocalExecutor(1, dashboard=True) as executor:
        list(executor.map_tasks(total, batches(2), stage="first", on_event=events.append))
        (told,) = [event for event in events if isinstance(event, Note)]
        port = executor._cluster.scheduler_info["services"]["dashboard"]
        assert f"http://127.0.0.1:{port}/status on {platform.node()}" in told.text
        assert f"ssh -N -L 8787:127.0.0.1:{port} {getpass.getuser()}@{platform.node()}" in told.text
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=20).read().decode()
        assert "Dask" in page
        listening = {c.laddr for c in psutil.Process().net_connections() if c.status == psutil.CONN_LISTEN}
        assert {address.ip for address in listening if address.port == port} == {"127.0.0.1"}
        list(executor.map_tasks(total, batches(2), stage="second", on_event=events.append))
    assert sum(isinstance(event, Note) for event in events) == 1


def test_a_dashboard_without_its_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("bokeh")
    import distributed.dashboard.scheduler

    # The import that fails leaves a package behind there, which later tests must not find.
    monkeypatch.setattr(distributed, "dashboard", None)
    monkeypatch.setitem(sys.modules, "bokeh", None)
    for name in [name for name in sys.modules if name.startswith(("bokeh.", "distributed.dashboard"))]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ExecutorError, match=r"executor.dashboard needs a recent bokeh.*pip install"):
        LocalExecutor(1, dashboard=True)


def test_inside_a_job_the_way_to_the_dashboard_goes_through_the_login_node(monkeypatch: pytest.MonkeyPatch) -> None:
    user = getpass.getuser()
    monkeypatch.setenv("SLURM_SUBMIT_HOST", "login1")
    assert f"ssh -N -L 8787:127.0.0.1:4000 -J {user}@login1 {user}@node7" in how_to_reach(4000, "node7")
    assert "-J" not in how_to_reach(4000, "login1")
    monkeypatch.delenv("SLURM_SUBMIT_HOST")
    assert "-J" not in how_to_reach(4000, "node7")
