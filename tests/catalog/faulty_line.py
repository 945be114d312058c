"""A line to a server that breaks or goes silent in the middle, for real: a proxy between two sockets."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

CHUNK = 16384


@dataclass(frozen=True)
class Fault:
    """What happens to a connection after so many bytes from the server."""

    after: int
    kind: Literal["cut", "silence"]


@dataclass
class Line:
    """A proxy in use: its port, and bytes that came from the server over each connection, in their order."""

    port: int
    carried: list[int] = field(default_factory=list)


@contextmanager
def faulty_line(server_port: int, faults: Mapping[int, Fault]) -> Iterator[Line]:
    """A proxy to a server on loopback; ``faults`` are by the number of the connection, from 0."""
    listener = socket.create_server(("127.0.0.1", 0))
    line = Line(listener.getsockname()[1])
    held: list[socket.socket] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", server_port))
                held.extend((client, server))
                number = len(line.carried)
                line.carried.append(0)
                for work in ((_up, client, server), (_down, server, client, line, number, faults.get(number))):
                    threading.Thread(target=work[0], args=work[1:], daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield line
    finally:
        _shut(listener)
        thread.join(10)
        for one in held:
            _shut(one)


@contextmanager
def silent_server() -> Iterator[int]:
    """A server that lets everyone connect and never says a word; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def _up(client: socket.socket, server: socket.socket) -> None:
    with suppress(OSError):
        while data := client.recv(CHUNK):
            server.sendall(data)
        server.shutdown(socket.SHUT_WR)


def _down(server: socket.socket, client: socket.socket, line: Line, number: int, fault: Fault | None) -> None:
    with suppress(OSError):
        while data := server.recv(CHUNK):
            if fault is not None and line.carried[number] + len(data) > fault.after:
                client.sendall(data[: fault.after - line.carried[number]])
                line.carried[number] = fault.after
                if fault.kind == "cut":
                    client.shutdown(socket.SHUT_WR)  # and not close, which would take back what is still on its way
                    _shut(server)
                return
            client.sendall(data)
            line.carried[number] += len(data)
        client.shutdown(socket.SHUT_WR)


def _shut(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
