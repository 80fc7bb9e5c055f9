"""Who opens a connection and asks nothing does not keep it; who waits for an answer does."""

import asyncio
import socket
import threading
from collections.abc import Iterator

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
