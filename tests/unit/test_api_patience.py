"""Who opens a connection and asks nothing does not keep it; who waits for an answer does."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

pytest.importorskip("uvicorn", reason="of the extra serve")

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tests.until import until

from loradex.service.api.door import Door
from loradex.service.api.measures import Measures
from loradex.service.api.server import Draining, listening

HEAD_SECONDS = 0.3
WHOLE = b"GET / HTTP/1.1\r\nhost: api.test\r\n\r\n"
IN_CHUNKS = WHOLE[:-2] + b"transfer-encoding: chunked\r\n\r\n"
LINE = b"x: " + b"x" * 8192 + b"\r\n"


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr("loradex.service.api.patience.HEAD_SECONDS", HEAD_SECONDS)

    async def late(_: Request) -> PlainTextResponse:
        await asyncio.sleep(5 * HEAD_SECONDS)
        return PlainTextResponse("late")

    server = Draining(
        Door(Starlette(routes=[Route("/", late)]), Measures(CollectorRegistry(), {})), seconds=0.1
    )
    with listening("127.0.0.1", 0) as door:
        thread = threading.Thread(target=asyncio.run, args=(server.serve(sockets=[door]),))
        thread.start()
        until(lambda: server.started)
        yield door.getsockname()[1]
        server.should_exit = True
        thread.join(30)


def heard(connection: socket.socket) -> bytes:
    """All that comes until the other side closes it."""
    told = bytearray()
    while part := connection.recv(4096):
        told += part
    return bytes(told)


@pytest.mark.parametrize(
    ("said", "told"),
    [(b"", b""), (WHOLE[:-2], b""), (WHOLE, b"late"), (WHOLE + WHOLE[:-2], b"late")],
    ids=["nothing", "half a head", "a request", "half a head behind a request"],
)
def test_who_asks_nothing_loses_the_connection(port: int, said: bytes, told: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=4) as connection:
        connection.sendall(said)
        assert heard(connection)[-4:] == told


@pytest.mark.parametrize(
    ("begun", "more"),
    [
        (WHOLE[:-2], LINE),
        (WHOLE[:-2] + b"x: ", b"x" * 8192),
        (b"", b"\r\n" * 4096),
        (IN_CHUNKS + b"1\r\nx\r\n0\r\n", LINE),
        (IN_CHUNKS + b"1;", b"x" * 8192),
    ],
    ids=["lines of a head", "one line", "empty lines", "lines behind a body", "names of a chunk"],
)
def test_what_is_no_body_is_bounded(
    port: int, monkeypatch: pytest.MonkeyPatch, begun: bytes, more: bytes
) -> None:
    monkeypatch.setattr("loradex.service.api.patience.HEAD_SECONDS", 60)
    with socket.create_connection(("127.0.0.1", port), timeout=4) as connection:
        # What was not read when it was closed makes the kernel say so.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(begun)
            for _ in range(100):
                connection.sendall(more)
        with suppress(ConnectionResetError):
            heard(connection)


def test_a_body_of_many_chunks_is_no_head(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=4) as connection:
        connection.sendall(IN_CHUNKS + b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n")
        assert heard(connection)[-4:] == b"late"


def test_a_body_does_not_wait_until_its_head_has_come() -> None:
    """By itself the kernel holds back a second small part until the first was acknowledged, which takes 40 ms."""
    with listening("127.0.0.1", 0) as door, socket.create_connection(door.getsockname()):
        connection, _ = door.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
