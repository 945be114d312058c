"""Whether one node reaches another as executors do, by TLS at the address of an interface, and how clocks differ."""

import contextlib
import json
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.probes.finding import Finding
from hpc_mlsm.runtime.security import CERTIFICATE, KEY, make_security

TIMEOUT_S = 10.0
ROUNDS = 5
SKEW_WARNING_S = 1.0
SKEW_FAILURE_S = 60.0
"""Logs and ages of files are then wrong by minutes, and new certificates may seem not to be valid yet."""


@dataclass(frozen=True)
class Exchange:
    """Four times of one question and its answer, by the clocks of the one who asks and the one who answers (s)."""

    asked: float
    received: float
    answered: float
    heard: float

    @property
    def delay_s(self) -> float:
        """Time on the way, there and back."""
        return (self.heard - self.asked) - (self.answered - self.received)

    @property
    def skew_s(self) -> float:
        """How much the clock of the one who asks is ahead; within half the delay."""
        return ((self.asked - self.received) + (self.heard - self.answered)) / 2


def interfaces() -> dict[str, str]:
    """IPv4 addresses of this node's network interfaces, by name."""
    return {
        name: address.address
        for name, addresses in psutil.net_if_addrs().items()
        for address in addresses
        if address.family == socket.AF_INET
    }


def address_of(interface: str | None) -> str:
    """The address at which an executor's scheduler would listen here.

    Raises
    ------
    ExecutorError
        If there is no such interface; names those that there are.
    """
    from distributed.utils import get_ip

    if interface is None:
        return str(get_ip())
    found = interfaces()
    if interface not in found:
        there = ", ".join(f"{name} ({address})" for name, address in found.items())
        raise ExecutorError(f"there is no interface {interface}; there are {there or 'none'}")
    return found[interface]


def check_interface(where: str, interface: str | None) -> Finding:
    """The interface that executors would take on this node."""
    try:
        address = address_of(interface)
    except ExecutorError as error:
        return Finding(
            "network interface",
            where,
            "failure",
            str(error),
            "set interface: of the profile to one that all nodes have",
        )
    chosen = interface or next((name for name, own in interfaces().items() if own == address), "default route")
    return Finding("network interface", where, "ok", f"{chosen}, {address}{'' if interface else ' (not named)'}")


class Listener:
    """Answers questions about the time, by TLS with a certificate of its own, as the scheduler of an executor listens.

    Parameters
    ----------
    folder
        Shared folder, into which the certificate goes.
    interface
        Where to listen, and nowhere else.
    """

    def __init__(self, folder: Path, interface: str | None) -> None:
        make_security(folder)
        self.folder = folder
        self.address = address_of(interface)
        self._context = _context(folder, ssl.PROTOCOL_TLS_SERVER)
        self._socket = socket.create_server((self.address, 0))
        self._socket.settimeout(0.5)
        self.port: int = self._socket.getsockname()[1]
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Listen no longer."""
        self._closed.set()
        self._thread.join(2)
        self._socket.close()

    def _serve(self) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(OSError):
                connection, _ = self._socket.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(TIMEOUT_S)
        with contextlib.suppress(OSError), self._context.wrap_socket(connection, server_side=True) as secured:
            file = secured.makefile("rwb", buffering=0)
            while file.readline():
                received = time.time()
                file.write(json.dumps({"received": received, "answered": time.time()}).encode() + b"\n")


def exchange(address: str, port: int, folder: Path, *, timeout_s: float = TIMEOUT_S) -> Exchange:
    """Reach a listener and compare clocks; of several exchanges the one that was fastest.

    Raises
    ------
    OSError
        If it cannot be reached, or the certificate is another one.
    """
    context = _context(folder, ssl.PROTOCOL_TLS_CLIENT)
    with (
        socket.create_connection((address, port), timeout=timeout_s) as plain,
        context.wrap_socket(plain, server_hostname=address) as secured,
    ):
        file = secured.makefile("rwb", buffering=0)
        found = []
        for _ in range(ROUNDS):
            asked = time.time()
            file.write(b"?\n")
            answer: dict[str, Any] = json.loads(file.readline() or b"{}")
            if not answer:
                raise ConnectionError("the connection was closed")
            found.append(Exchange(asked, answer["received"], answer["answered"], time.time()))
    return min(found, key=lambda one: one.delay_s)


def check_reach(where: str, whom: str, address: str, port: int, folder: Path) -> tuple[Finding, Exchange | None]:
    """Whether the node ``whom`` is reached from here at that address."""
    check = f"reaches {whom}"
    try:
        found = exchange(address, port, folder)
    except (OSError, ValueError) as error:
        words = f"{address} by TLS: {error or type(error).__name__}"
        remedy = "name another interface: in the profile that both have, or ask which ports the firewall leaves open"
        if whom == "the login node":
            remedy += "; if nodes may not reach it, set nodes_reach_login: false"
        return Finding(check, where, "failure", words, remedy), None
    return Finding(check, where, "ok", f"{address} by TLS, {found.delay_s * 1e3:.2g} ms there and back"), found


def check_clock(where: str, skew_s: float, precision_s: float, against: str = "the login node") -> Finding:
    """Whether the clocks agree well enough."""
    size = abs(skew_s)
    figure = f"{size:.3g} s {'ahead of' if skew_s > 0 else 'behind'} {against} (to {precision_s:.1g} s)"
    if size <= max(SKEW_WARNING_S, precision_s):
        return Finding("clock", where, "ok", figure)
    remedy = "ask the administrators to synchronise the clocks (NTP); logs and certificates carry times"
    return Finding("clock", where, "failure" if size > SKEW_FAILURE_S else "warning", figure, remedy)


def _context(folder: Path, protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cafile=str(folder / CERTIFICATE))
    context.load_cert_chain(str(folder / CERTIFICATE), str(folder / KEY))
    return context
