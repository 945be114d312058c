"""The behaviour test of all executors, run by the driver of a launch: ``launched_checks.py KIND FOLDER``.

The ranks of a launch run the same command, so its tests cannot be among those of one pytest process: every rank runs
this file as a program, and the driver's rank goes on to collect it as tests.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_executors import *  # noqa: F403

from hpc_mlsm.runtime.executor import Executor
from hpc_mlsm.runtime.factory import make_executor, take_place
from hpc_mlsm.runtime.settings import ExecutorSettings


def settings() -> ExecutorSettings:
    return ExecutorSettings(kind=os.environ["LAUNCHED_KIND"], interface="lo")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    with make_executor(settings()) as made:
        yield made


if __name__ == "__main__":
    os.environ["LAUNCHED_KIND"], folder = sys.argv[1], Path(sys.argv[2])
    take_place(settings(), folder)
    # What concerns other executors has a parameter or the name of one.
    arguments = ["-q", "-k", "not inline and not local", "-p", "no:cacheprovider", f"--junitxml={folder}/report.xml"]
    sys.exit(pytest.main([__file__, *arguments]))
