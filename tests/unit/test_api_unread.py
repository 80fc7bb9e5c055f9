"""Who takes nothing of a reply is cut off, as if they had left; who takes little, or is told nothing, is not."""

import asyncio
import socket
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

pytest.importorskip("uvicorn", reason="of the extra serve")

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.serving import serving
from tests.until import until

from loradex.service.api.door import Door, answered
from loradex.service.api.event_stream import EventStream
from loradex.service.api.measures import Measures
from loradex.service.api.places import Places

LOOK_SECONDS = 0.1
SEND_SECONDS = 0.6
EVENT = b"data: " + b"x" * (1 << 16) + b"\n\n"
LARGE = 16 << 20
"""Bytes, more than kernels keep for a client that does not read."""


@dataclass
class Streaming:
    """A server of streams.

    Attributes:
        at: Its host and port.
        places: Its places.
        ended: Paths whose events were left before their end.
    """

    at: tuple[str, int] = ("", 0)
    places: Places = field(default_factory=Places)
    ended: list[str] = field(default_factory=list)

    def asked(self, path: str) -> socket.socket:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        connection.settimeout(30)
        connection.connect(self.at)
        connection.sendall(f"GET {path} HTTP/1.1\r\nhost: api.test\r\n\r\n".encode())
        return connection


@pytest.fixture
def streaming(monkeypatch: pytest.MonkeyPatch) -> Iterator[Streaming]:
    monkeypatch.setattr("loradex.service.api.patience.HEAD_SECONDS", LOOK_SECONDS)
    monkeypatch.setattr("loradex.service.api.patience.SEND_SECONDS", SEND_SECONDS)
    server = Streaming()

    async def events(path: str) -> AsyncGenerator[bytes]:
        try:
            yield EVENT
            if path == "/quiet":
                await asyncio.sleep(4 * SEND_SECONDS)
            while path == "/endless":
                await asyncio.sleep(0)
                yield EVENT
            yield b"data: [DONE]\n\n"
        except (GeneratorExit, asyncio.CancelledError):
            server.ended.append(path)
            raise

    async def stream(request: Request) -> object:
        return await answered(request, EventStream.begun(events(request.url.path), {}))

    async def large(_: Request) -> Response:
        return Response(bytes(LARGE))

    routes = [Route("/endless", stream), Route("/quiet", stream), Route("/large", large)]

    def door() -> Door:
        return Door(Starlette(routes=routes), Measures(CollectorRegistry(), {}), server.places)

    with serving(door) as url:
        host, port = url.removeprefix("http://").split(":")
        server.at = (host, int(port))
        yield server


def taken(connection: socket.socket) -> bytes:
    """All that is still there for who did not read, or left."""
    told = bytearray()
    with suppress(ConnectionResetError):
        while part := connection.recv(1 << 20):
            told += part
    return bytes(told)


def test_a_stream_that_nobody_reads_ends_as_if_they_had_left(streaming: Streaming) -> None:
    with streaming.asked("/endless") as connection:
        until(lambda: streaming.places.taken == 1)
        until(lambda: streaming.ended == ["/endless"], 10)
        until(lambda: streaming.places.taken == 0)
        assert b"[DONE]" not in taken(connection)


def test_a_reply_that_nobody_reads_is_not_kept(streaming: Streaming) -> None:
    """It is complete for the application, and waits in the memory of the server."""
    with streaming.asked("/large") as connection:
        time.sleep(4 * SEND_SECONDS)
        assert len(taken(connection)) < LARGE


def test_who_reads_slowly_gets_all(streaming: Streaming) -> None:
    told = 0
    with streaming.asked("/large") as connection:
        for _ in range(24):
            time.sleep(SEND_SECONDS / 6)
            told += len(connection.recv(1 << 19))
        assert told + len(taken(connection)) > LARGE


def test_a_stream_that_is_quiet_goes_on(streaming: Streaming) -> None:
    with streaming.asked("/quiet") as connection:
        told = b""
        while b"[DONE]" not in told:
            part = connection.recv(1 << 20)
            assert part
            told += part
    assert streaming.ended == []
