"""Dask's web page of a running scheduler: on loopback of its node only, reached through ssh."""

import getpass
import os
from typing import Any

import dask

from hpc_mlsm.errors import ExecutorError

LOCAL_PORT = 8787
"""Port of the user's own machine at which the page appears."""

_ROUTES = ["distributed.http.scheduler.info", "distributed.http.health", "distributed.http.statics"]


def scheduler_options(dashboard: bool) -> dict[str, Any]:
    """Arguments of a Dask scheduler: any free port of loopback, and pages behind it or none.

    Raises
    ------
    ExecutorError
        If pages are wanted, and what draws them is missing or too old.
    """
    if dashboard:
        try:
            import distributed.dashboard.scheduler  # noqa: F401
        except ImportError as error:
            raise ExecutorError(
                f"executor.dashboard needs a recent bokeh: {str(error).strip() or 'it cannot be loaded'}. "
                'pip install "bokeh>=3.1", or set executor.dashboard to false'
            ) from error
        dask.config.set({"distributed.scheduler.http.routes": _ROUTES})
    return {"dashboard": dashboard, "dashboard_address": "127.0.0.1:0"}


def how_to_reach(port: int, host: str) -> str:
    """What to tell the user: the address on the scheduler's node, and the line of ssh that brings it to one's own."""
    login = os.environ.get("SLURM_SUBMIT_HOST", "")
    user = getpass.getuser()
    jump = f"-J {user}@{login} " if login and login != host else ""
    return (
        f"the dashboard of the workers is at http://127.0.0.1:{port}/status on {host}; from elsewhere: "
        f"ssh -N -L {LOCAL_PORT}:127.0.0.1:{port} {jump}{user}@{host}, then http://127.0.0.1:{LOCAL_PORT}/status"
    )
