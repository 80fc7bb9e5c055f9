"""However many ask whether a server is ready, Postgres is asked once a second."""

import asyncio
from typing import Any, cast

import pytest

pytest.importorskip("starlette", reason="of the extra serve")

from loradex.service.api import readiness
from loradex.service.api.readiness import Readiness
from loradex.service.client import AsyncClient


class Looked:
    """Stands for a client: how often Postgres was asked, which answers when it may."""

    def __init__(self) -> None:
        self.looks = 0
        self.answers = asyncio.Event()
        self.served = True

    async def rows(self, *_: object) -> list[dict[str, Any]]:
        self.looks += 1
        await self.answers.wait()
        return [{"one_of_clients": True, "login": "x", "served": self.served}]


def asked_by(client: Looked) -> Readiness:
    return Readiness(cast("AsyncClient", client))


def test_those_who_ask_at_once_share_a_look_and_leave_it_to_each_other() -> None:
    async def walk() -> None:
        client = Looked()
        ready = asked_by(client)
        asking = [asyncio.create_task(ready.reasons()) for _ in range(1_000)]
        await asyncio.sleep(0)
        asking[0].cancel()
        client.answers.set()
        told = await asyncio.gather(*asking, return_exceptions=True)
        assert isinstance(told[0], asyncio.CancelledError)
        assert told[1:] == [[]] * 999
        assert await ready.reasons() == []
        assert client.looks == 1

    asyncio.run(walk())


def test_what_was_seen_is_looked_at_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "FRESH_SECONDS", 0.05)

    async def walk() -> None:
        client = Looked()
        client.answers.set()
        ready = asked_by(client)
        assert await ready.reasons() == []
        client.served = False
        await asyncio.sleep(0.1)
        (reason,) = await ready.reasons()
        assert "no living worker" in reason

    asyncio.run(walk())
