"""What whoever watches a server is told: whether it takes requests, and why not."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from tests.fix_answering import Stack
from tests.fix_api import Served
from tests.fix_db import with_user

from loradex.service.api import readiness
from loradex.service.api.app import Api
from loradex.service.api.readiness import Seen, seen_by
from loradex.service.client import AsyncClient


def ready(served: Served) -> httpx2.Response:
    return served.http.get(f"{served.url}/readyz")


def test_readiness_names_what_is_wrong(served: Served, answering: Stack) -> None:
    assert ready(served).json() == {"status": "ready", "reasons": []}

    async def walk() -> Any:
        # The owner sees everybody's rows.
        async with (
            AsyncClient(answering.database_url, answering.redis_url) as behind,
            httpx2.AsyncClient(
                transport=httpx2.ASGITransport(Api(behind).application()), base_url="http://x"
            ) as client,
        ):
            key = {"authorization": f"Bearer {served.alice}"}
            assert (await client.get("/v1/jobs", headers=key)).status_code == 403
            return (await client.get("/readyz")).json()["reasons"]

    (reason,) = asyncio.run(walk())
    assert "loradex db login" in reason


def test_a_server_without_a_worker_takes_jobs_and_says_that_they_wait(
    answering: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        readiness, "STATE", readiness.STATE.replace("loradex.is_served", "not loradex.is_served")
    )
    login = with_user(answering.database_url, "loradex_client")

    async def walk() -> list[tuple[int, list[str]]]:
        async with (
            AsyncClient(login, answering.redis_url) as behind,
            httpx2.AsyncClient(
                transport=httpx2.ASGITransport(Api(behind).application()), base_url="http://x"
            ) as client,
        ):
            told = [await client.get(path) for path in ("/readyz", "/readyz?workers=no")]
            return [(one.status_code, one.json()["reasons"]) for one in told]

    (refused, reasons), ready = asyncio.run(walk())
    assert refused == 503
    assert "no living worker" in reasons[0]
    assert ready == (200, [])


def test_however_many_ask_for_readiness_postgres_hears_it_once_a_second(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    async def counted(client: AsyncClient) -> Seen:
        looks.append(client)
        return await seen_by(client)

    monkeypatch.setattr(readiness, "seen_by", counted)
    started = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: ready(served), range(200)))
    assert {one.status_code for one in answers} == {200}
    assert len(looks) <= 1 + (time.monotonic() - started) / readiness.FRESH_SECONDS
