import operator
import time

import pytest
from dask.distributed import Client, LocalCluster

from hpc_mlsm.runtime.dask_executor import claim_dask
from hpc_mlsm.runtime.dask_unpin import Unpin


@pytest.mark.parametrize("preferred", ["tcp://127.0.0.1:1", ["tcp://127.0.0.1:1", "tcp://127.0.0.1:2"]])
def test_a_task_that_prefers_a_worker_that_is_gone_runs_on_the_next_that_comes(preferred: str | list[str]) -> None:
    claim_dask()
    options = {"n_workers": 0, "processes": False, "host": "tcp://127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(**options) as cluster, Client(cluster, set_as_default=False) as client:
        client.register_plugin(Unpin())
        futures = [
            client.submit(operator.neg, n, key=f"task-{n}", workers=preferred, allow_other_workers=True)
            for n in range(3)
        ]
        while len(cluster.scheduler.unrunnable) < 3:
            time.sleep(0.01)
        cluster.scale(1)
        assert [future.result(timeout=20) for future in futures] == [0, -1, -2]
