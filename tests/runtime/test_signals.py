import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from hpc_mlsm.errors import HpcMlsmError
from hpc_mlsm.runtime.signals import (
    RESUME_STATUS,
    STOP_SIGNALS,
    Drain,
    Interrupted,
    draining,
    request_drain,
    stoppable,
)


@pytest.fixture(autouse=True)
def _same_handlers_afterwards() -> Iterator[None]:
    # A shell that runs the tests in the background would have it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    yield
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before
    assert not request_drain("nobody listens")


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def test_the_exit_status_that_says_resume_me_is_the_one_of_sysexits() -> None:
    assert RESUME_STATUS == os.EX_TEMPFAIL


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_a_signal_asks_for_a_drain_and_nothing_else(number: signal.Signals, name: str) -> None:
    with draining() as drain:
        drain.check()
        send(number)
        assert drain.requested
        with pytest.raises(Interrupted, match=f"stopped by {name}; 3 of 5 are done. Run the same command again"):
            drain.check("3 of 5 are done")


def test_a_second_ctrl_c_aborts_and_further_terms_do_not() -> None:
    with draining() as drain:
        send(signal.SIGUSR1)
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        assert drain.reason == "SIGUSR1"
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_a_signal_that_is_ignored_stays_so() -> None:
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with draining() as drain:
            send(signal.SIGHUP)
            assert not drain.requested
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_the_grace_counts_from_the_first_request() -> None:
    drain = Drain()
    assert not drain.overdue(0.0)
    drain.request("first")
    time.sleep(0.02)
    drain.request("second")
    assert drain.reason == "first"
    assert drain.overdue(0.01)
    assert not drain.overdue(60)


def test_overlapping_uses_share_one_drain_until_the_last_has_left() -> None:
    first, second = draining(), draining()
    drain = first.__enter__()
    assert second.__enter__() is drain
    first.__exit__(None, None, None)
    send(signal.SIGTERM)
    assert drain.requested
    second.__exit__(None, None, None)


def test_another_thread_may_ask_and_may_drain() -> None:
    seen: list[bool] = []

    def work() -> None:
        with draining() as drain:
            assert request_drain("the lock was lost")
            seen.append(drain.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True]


def test_signals_are_caught_when_the_main_thread_joins_a_drain_of_another() -> None:
    inside, leave = threading.Event(), threading.Event()

    def work() -> None:
        with draining():
            inside.set()
            leave.wait(5)

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait(5)
    with draining() as drain:
        leave.set()
        thread.join()
        send(signal.SIGTERM)
        assert drain.requested


def test_between_maps_a_signal_is_an_error_that_says_how_to_go_on() -> None:
    with stoppable():
        with pytest.raises(Interrupted, match="stopped by SIGTERM"):
            send(signal.SIGTERM)
        with draining() as drain:
            send(signal.SIGUSR1)
            assert drain.requested
        with pytest.raises(Interrupted, match="stopped by SIGUSR1"):
            send(signal.SIGUSR1)
        with pytest.raises(Interrupted, match="stopped by Ctrl-C"):
            send(signal.SIGINT)


def test_being_interrupted_is_of_the_family_and_travels() -> None:
    error = pickle.loads(pickle.dumps(Interrupted("stopped")))
    assert isinstance(error, HpcMlsmError)
    assert str(error) == "stopped"
