"""A server that is full refuses what asks, answers its probes, and has its places again afterwards."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

pytest.importorskip("uvicorn", reason="of the extra serve")

import httpx2
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tests.serving import serving
from tests.until import until

from loradex.service.api.door import Door
from loradex.service.api.measures import Measures
from loradex.service.api.places import PROBES, Places

MOST = 4


@dataclass
class Full:
    """A server of few places.

    Attributes:
        url: Its address.
        waiting: How many requests for `/wait` are under way.
    """

    url: str = ""
    waiting: int = 0
    loop: asyncio.AbstractEventLoop | None = None
    go: asyncio.Event = field(default_factory=asyncio.Event)

    def get(self, path: str) -> httpx2.Response:
        return httpx2.get(self.url + path, timeout=30)

    def end_waiting(self) -> None:
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self.go.set)


@pytest.fixture
def full() -> Iterator[Full]:
    server = Full()

    async def wait(_: Request) -> PlainTextResponse:
        server.waiting += 1
        server.loop = asyncio.get_running_loop()
        await server.go.wait()
        return PlainTextResponse("waited")

    async def probe(_: Request) -> PlainTextResponse:
        return PlainTextResponse("live")

    routes = [Route("/wait", wait), *(Route(path, probe) for path in PROBES)]
    with serving(
        lambda: Door(Starlette(routes=routes), Measures(CollectorRegistry(), {}), Places(MOST))
    ) as server.url:
        yield server


def test_a_full_server_says_that_it_lives(full: Full) -> None:
    with ThreadPoolExecutor(MOST) as threads:
        waiting = [threads.submit(full.get, "/wait") for _ in range(MOST)]
        until(lambda: full.waiting == MOST)
        try:
            assert [full.get(path).status_code for path in sorted(PROBES)] == [200, 200]
            refused = full.get("/wait")
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            assert refused.json()["error"]["code"] == "server_busy"
        finally:
            full.end_waiting()
        assert [one.result().text for one in waiting] == ["waited"] * MOST
    assert full.get("/wait").text == "waited"
