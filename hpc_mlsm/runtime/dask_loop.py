"""What is asked of Dask in the event loop of its client, by a driver that must not wait for the answer."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Future as ThreadFuture
from typing import Any

from dask.distributed import Client, Future


def in_loop(client: Client, work: Coroutine[Any, Any, Any]) -> "ThreadFuture[Any]":
    """Have the client's loop do something."""
    loop: Any = client.loop
    return asyncio.run_coroutine_threadsafe(work, loop.asyncio_loop)


def answer_of(client: Client, future: Future) -> "ThreadFuture[Any]":
    """What a future of Dask's comes to, as a future of a thread."""
    return in_loop(client, _answer(future))


def call_each(client: Client, workers: Iterable[str], fn: Callable[..., object], *arguments: Any) -> None:
    """Call a function in the loops of workers; those that are gone do not hear it."""
    in_loop(client, _call_each(client, list(workers), fn, arguments))


def silences(client: Client) -> "ThreadFuture[dict[str, float]]":
    """Seconds since the scheduler heard of each of its workers, by address."""
    return in_loop(client, client._run_on_scheduler(_silences))


def restart_workers(client: Client, workers: Sequence[str], timeout_s: float) -> None:
    """Start workers again, whatever they do; waits for it within bounds."""
    restarting = in_loop(client, client._restart_workers(list(workers), timeout=timeout_s, raise_for_error=False))
    try:
        restarting.result(2 * timeout_s)
    except (OSError, RuntimeError, TimeoutError, ValueError, KeyError, asyncio.CancelledError):
        # Also where a worker that is gone already is asked for.
        restarting.cancel()


async def _answer(future: Any) -> Any:
    return await future


async def _call_each(client: Client, workers: list[str], fn: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    # One by one, so that a worker that does not answer holds up no other.
    calls = [client._run(fn, *arguments, workers=[worker], on_error="ignore") for worker in workers]
    await asyncio.gather(*calls, return_exceptions=True)


def _silences(dask_scheduler: Any) -> dict[str, float]:
    now = time.time()
    return {address: now - worker.last_seen for address, worker in dask_scheduler.workers.items()}
