"""Whoever waits hears at once, whenever Postgres says it, and of an outage only while there is one."""

import asyncio
import select
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import pytest
from tests.fix_answering import NO_REDIS
from tests.proxy import Proxy
from tests.until import until, until_async

from loradex.db.async_session import AsyncSession
from loradex.db.session import Session, connect
from loradex.errors import DatabaseUnavailableError, WaitTimeoutError
from loradex.service.client import AsyncClient, Client
from loradex.settings import Settings

HEARD_SECONDS = 20.0
NEVER_SECONDS = 600.0
"""In place of the silence after which one looks without being told: a notification is heard, or nothing is."""


@pytest.fixture
def cable(stocked_database: str) -> Iterator[Proxy]:
    """What lies between a listener and Postgres."""
    parts = urlsplit(stocked_database)
    made = Proxy((str(parts.hostname), int(str(parts.port))))
    yield made
    made.close()


def through(cable: Proxy, url: str) -> Settings:
    """A client with these listens at the other end of the cable."""
    parts = urlsplit(url)
    netloc = f"{parts.username}:{parts.password}@127.0.0.1:{cable.port}"
    return Settings(listen_url=urlunsplit(parts._replace(netloc=netloc)))


def cancel_elsewhere(url: str, jobs: Sequence[UUID]) -> None:
    """End the jobs in another session, which Postgres tells to all who listen."""
    with connect(url) as other:
        other.execute("select loradex.cancel_jobs(%s)", (list(jobs),))


def test_what_is_said_during_a_look_is_heard(stocked_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection reads it with the rows it asked for, and its socket is silent afterwards."""
    monkeypatch.setattr("loradex.service.client.listener.LONGEST_SILENCE_SECONDS", NEVER_SECONDS)
    with Client(stocked_database, NO_REDIS) as client:
        job = client.enqueue("Is it said meanwhile?")
        look = client.listener._look

        def look_long(connection: Session, jobs: Sequence[UUID]) -> None:
            look(connection, jobs)
            if jobs:  # Another look follows the first: the one who began to wait has nudged the listener.
                return
            monkeypatch.setattr(client.listener, "_look", look)
            cancel_elsewhere(stocked_database, [job.id])
            assert select.select([connection], [], [], HEARD_SECONDS)[0]
            connection.execute("select")

        monkeypatch.setattr(client.listener, "_look", look_long)
        assert [one.id for one in client.as_completed([job], timeout=HEARD_SECONDS)] == [job.id]


def test_what_is_said_during_a_look_is_heard_by_asyncio_too(
    stocked_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loradex.service.client.async_listener.LONGEST_SILENCE_SECONDS", NEVER_SECONDS)

    async def walk() -> None:
        async with AsyncClient(stocked_database, NO_REDIS) as client:
            job = await client.enqueue("Is it said meanwhile?")
            look = client.listener._look

            async def look_long(connection: AsyncSession, jobs: Sequence[UUID]) -> None:
                await look(connection, jobs)
                if jobs:
                    return
                monkeypatch.setattr(client.listener, "_look", look)
                await asyncio.to_thread(cancel_elsewhere, stocked_database, [job.id])
                assert (await asyncio.to_thread(select.select, [connection], [], [], HEARD_SECONDS))[0]
                await connection.execute("select")

            monkeypatch.setattr(client.listener, "_look", look_long)
            came = [one.id async for one in client.as_completed([job], timeout=HEARD_SECONDS)]
            assert came == [job.id]

    asyncio.run(walk())


def test_an_outage_is_told_to_those_who_wait_then(stocked_database: str, cable: Proxy) -> None:
    """Who waits later hears how it is then, though nobody has listened since."""
    target = cable.target
    with Client(stocked_database, NO_REDIS, settings=through(cable, stocked_database)) as client:
        job = client.enqueue("Is it away?")
        cable.target = ("127.0.0.1", 1)
        with client.listener.watch([job.id]):
            until(lambda: client.listener.outage)
            with pytest.raises(DatabaseUnavailableError):
                job.wait(timeout=0)
        cable.target = target
        with pytest.raises(WaitTimeoutError):
            job.wait(timeout=0)
        cancel_elsewhere(stocked_database, [job.id])
        assert [one.id for one in client.as_completed([job], timeout=HEARD_SECONDS)] == [job.id]


def test_an_outage_is_told_to_those_who_await_then(stocked_database: str, cable: Proxy) -> None:
    target = cable.target

    async def walk() -> None:
        async with AsyncClient(
            stocked_database, NO_REDIS, settings=through(cable, stocked_database)
        ) as client:
            job = await client.enqueue("Is it away?")
            cable.target = ("127.0.0.1", 1)
            async with client.listener.watch([job.id]):
                await until_async(lambda: client.listener.outage)
                with pytest.raises(DatabaseUnavailableError):
                    await job.wait(timeout=0)
            cable.target = target
            with pytest.raises(WaitTimeoutError):
                await job.wait(timeout=0)
            await asyncio.to_thread(cancel_elsewhere, stocked_database, [job.id])
            came = [one.id async for one in client.as_completed([job], timeout=HEARD_SECONDS)]
            assert came == [job.id]

    asyncio.run(walk())


def test_what_has_ended_is_given_when_no_time_is_left(stocked_database: str) -> None:
    with Client(stocked_database, NO_REDIS) as client:
        jobs = client.enqueue_many({"prompt": f"Over {number}?"} for number in range(3))
        ids = [job.id for job in jobs]
        cancel_elsewhere(stocked_database, ids[:2])
        came = client.as_completed(jobs, timeout=0)
        assert {next(came).id, next(came).id} == set(ids[:2])
        with pytest.raises(WaitTimeoutError, match="1 jobs"):
            next(came)
        assert len(list(client.as_completed(jobs[:2], timeout=0))) == 2


def test_what_has_ended_is_given_to_tasks_when_no_time_is_left(stocked_database: str) -> None:
    async def walk() -> None:
        async with AsyncClient(stocked_database, NO_REDIS) as client:
            jobs = await client.enqueue_many({"prompt": f"Over {number}?"} for number in range(3))
            ids = [job.id for job in jobs]
            await asyncio.to_thread(cancel_elsewhere, stocked_database, ids[:2])
            came = client.as_completed(jobs, timeout=0)
            assert {(await anext(came)).id, (await anext(came)).id} == set(ids[:2])
            with pytest.raises(WaitTimeoutError, match="1 jobs"):
                await anext(came)
            assert len([job async for job in client.as_completed(jobs[:2], timeout=0)]) == 2

    asyncio.run(walk())
