"""Workers that differ from the program are refused with the difference."""

import importlib.metadata
import time
from collections.abc import Iterator

import pytest
from batches import batches, total

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime import dask_guard
from hpc_mlsm.runtime.local import LocalExecutor
from hpc_mlsm.runtime.versions import OPTIONAL, differences, own_versions


def test_a_process_does_not_differ_from_itself() -> None:
    own = own_versions()
    assert differences(own, own) == []
    assert own["numpy"] == importlib.metadata.version("numpy")
    assert own["Python"].count(".") == 1


@pytest.mark.parametrize("name", [name for name in own_versions() if name not in OPTIONAL])
def test_each_difference_is_named(name: str) -> None:
    own = own_versions()
    assert differences(own, own | {name: "0.0.1"}) == [f"{name} 0.0.1 instead of {own[name]}"]
    assert differences(own, own | {name: ""}) == [f"{name} missing instead of {own[name]}"]


def test_what_is_optional_matters_where_both_have_it() -> None:
    wanted = own_versions() | {"xgboost": "3.0"}
    assert differences(wanted, wanted | {"xgboost": ""}) == []
    assert differences(wanted | {"xgboost": ""}, wanted) == []
    assert differences(wanted, wanted | {"xgboost": "2.0"}) == ["xgboost 2.0 instead of 3.0"]


@pytest.fixture
def other_numpy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process says that it has another numpy than its workers, which are processes of their own, see."""
    monkeypatch.setattr(dask_guard, "own_versions", lambda: own_versions() | {"numpy": "0.0.1"})
    return


@pytest.mark.usefixtures("other_numpy")
def test_local_workers_with_another_version_are_refused() -> None:
    with pytest.raises(ExecutorError, match=r"the worker 0 on .* was refused.*numpy \S+ instead of 0\.0\.1\. Give all"):
        LocalExecutor(1)


def test_a_worker_that_comes_later_is_refused_and_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpc_mlsm.runtime.dask_pool.LOOK_S", 0.2)
    with LocalExecutor(1, revive_s=1) as executor:
        wanted = own_versions() | {"numba": "0.0.1"}
        executor._cluster.scale(0)
        while executor.workers():
            time.sleep(0.02)
        guard = dask_guard.Guard()
        guard.wanted = wanted
        executor.client.register_plugin(guard)
        executor._cluster.scale(1)
        deadline = time.monotonic() + 60
        while not executor.reports.refused:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with pytest.raises(ExecutorError, match=r"no worker has been there.* differs from the .*: numba .* instead"):
            list(executor.map_tasks(total, batches(3), stage="late"))
