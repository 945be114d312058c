import subprocess
import sys

import pydantic
import pytest

from hpc_mlsm.runtime.factory import make_executor
from hpc_mlsm.runtime.inline import InlineExecutor
from hpc_mlsm.runtime.settings import ExecutorSettings


def test_inline_is_made_without_loading_dask() -> None:
    program = (
        "import sys\n"
        "from hpc_mlsm.runtime.factory import make_executor\n"
        "from hpc_mlsm.runtime.settings import ExecutorSettings\n"
        "make_executor(ExecutorSettings(kind='inline'))\n"
        "assert not {'dask', 'distributed', 'numpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_inline_runs_one_task_at_a_time() -> None:
    executor = make_executor(ExecutorSettings(kind="inline"))
    assert isinstance(executor, InlineExecutor)
    assert executor.capacity == 1


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "magic"}, {"workers": 0}, {"retries": -1}, {"grace_s": -1.0}, {"memory_per_worker_mb": 1}],
)
def test_settings_out_of_range_are_refused_where_configurations_are_validated(wrong: dict[str, object]) -> None:
    validate = pydantic.TypeAdapter(ExecutorSettings).validate_python
    assert validate({}) == ExecutorSettings()
    with pytest.raises(pydantic.ValidationError):
        validate(wrong)
