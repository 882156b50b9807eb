"""The proxy itself: it leaves nothing open behind it."""

import gc
import socket
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.chaos.proxy import Proxy


@pytest.fixture
def target() -> Iterator[socket.socket]:
    """Accepts each connection and closes it as soon as something arrives."""
    with socket.create_server(("localhost", 0)) as listener:

        def serve() -> None:
            while True:
                connection, _ = listener.accept()
                with connection:
                    if connection.recv(1) == b"q":
                        return

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener
        with socket.create_connection(listener.getsockname()) as last:
            last.sendall(b"q")
            thread.join()


@pytest.mark.parametrize("moment", ["arrive", "leave"])
def test_a_proxy_that_ends_while_connections_come_and_go_closes_them_all(
    target: socket.socket, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    left_open: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", left_open.append)
    for _ in range(50):
        with Proxy(f"host=localhost port={target.getsockname()[1]} user=u dbname=d") as proxy:
            clients = [socket.create_connection(("localhost", proxy.port)) for _ in range(3)]
            if moment == "leave":
                for client in clients:
                    client.sendall(b"x")
                for client in clients:
                    assert client.recv(1) == b""
        for client in clients:
            client.close()
    gc.collect()
    assert left_open == []
