"""The one place where an executor is chosen; its libraries are loaded only then."""

from hpc_mlsm.runtime.executor import Executor
from hpc_mlsm.runtime.settings import ExecutorSettings


def make_executor(settings: ExecutorSettings) -> Executor:
    """Start the executor that the settings ask for; the caller shuts it down, best by ``with``.

    Raises
    ------
    ExecutorError
        If the workers cannot be started.
    """
    if settings.kind == "inline":
        from hpc_mlsm.runtime.inline import InlineExecutor

        return InlineExecutor()
    from hpc_mlsm.runtime.local import LocalExecutor

    return LocalExecutor(
        settings.workers,
        memory_per_worker_mb=settings.memory_per_worker_mb,
        retries=settings.retries,
        grace_s=settings.grace_s,
        scratch=settings.scratch,
    )
