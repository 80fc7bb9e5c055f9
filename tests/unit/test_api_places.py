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
from loradex.service.api.places import NOBODY, PROBES, Places
from loradex.service.api.problem import Problem

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


def test_a_key_has_its_share_of_the_places_and_leaves_nothing_behind() -> None:
    places = Places(3)
    hers = [places.place() for _ in range(3)]
    for place in hers[:2]:
        place.take()
        place.count_for("lx_alice")
    with pytest.raises(Problem, match="one key may have 2") as refused:
        hers[2].count_for("lx_alice")
    assert (refused.value.status, refused.value.code) == (429, "too_many_concurrent_requests")
    assert refused.value.headers == {"retry-after": "1"}
    other = places.place()
    other.count_for(NOBODY)
    other.count_for("lx_bob")
    hers[0].give_back()
    hers[2].count_for("lx_alice")
    for place in (*hers, other, other):
        place.give_back()
    assert (places.taken, places.of_keys) == (0, {})


def test_those_who_only_ask_for_a_key_share_one() -> None:
    places = Places(2)
    places.place().count_for(NOBODY)
    with pytest.raises(Problem) as refused:
        places.place().count_for(NOBODY)
    assert refused.value.code == "server_busy"
