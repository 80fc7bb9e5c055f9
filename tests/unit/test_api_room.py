"""Bodies that are under way together have one bound, whoever sends them, and small ones always pass."""

import asyncio
from typing import Any

import pytest

pytest.importorskip("starlette", reason="of the extra serve")

import httpx2
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from loradex.service.api.door import Door, answered
from loradex.service.api.incoming import MOST_BYTES_OF_JOBS, bytes_of
from loradex.service.api.measures import Measures
from loradex.service.api.problem import Problem
from loradex.service.api.room import FREE_BYTES, MOST_BYTES, Room

LARGE = bytes(MOST_BYTES_OF_JOBS)
FITTING = MOST_BYTES // (MOST_BYTES_OF_JOBS - FREE_BYTES)


def test_what_is_given_back_is_there_again() -> None:
    room = Room(100)
    one, other = room.share(), room.share()
    for size in (10, FREE_BYTES + 40, FREE_BYTES + 60):
        one.hold(size)
    with pytest.raises(Problem, match="ask again") as refused:
        other.hold(FREE_BYTES + 41)
    assert (refused.value.status, refused.value.code) == (429, "server_busy")
    other.hold(FREE_BYTES + 40)
    one.give_back()
    other.hold_more(60)
    with pytest.raises(Problem, match="ask again"):
        other.hold_more(1)
    other.hold(FREE_BYTES + 100)
    other.give_back()
    room.share().hold(FREE_BYTES + 100)


def test_a_server_holds_no_more_bodies_than_fit() -> None:
    """Each is held until it is answered."""

    async def knock() -> None:
        answering = asyncio.Event()

        async def work(request: Request) -> PlainTextResponse:
            body = await bytes_of(request, MOST_BYTES_OF_JOBS)
            if len(body) > FREE_BYTES:
                await answering.wait()
            return PlainTextResponse(str(len(body)))

        async def endpoint(request: Request) -> Any:
            return await answered(request, work(request))

        application = Starlette(routes=[Route("/", endpoint, methods=["POST"])])
        door = httpx2.ASGITransport(app=Door(application, Measures(CollectorRegistry(), {})))
        async with httpx2.AsyncClient(transport=door, base_url="http://api.test") as client:
            asked = [asyncio.create_task(client.post("/", content=LARGE)) for _ in range(FITTING + 2)]
            refused, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            while len(refused) < 2:
                refused, _ = await asyncio.wait(asked, timeout=0.05)
            assert {one.result().status_code for one in refused} == {429}
            assert all(one.result().headers["retry-after"] == "1" for one in refused)
            assert (await client.post("/", content=bytes(FREE_BYTES))).status_code == 200
            answering.set()
            answers = await asyncio.gather(*asked)
            assert sorted(answer.status_code for answer in answers) == [200] * FITTING + [429] * 2
            assert (await client.post("/", content=LARGE)).status_code == 200

    asyncio.run(knock())
