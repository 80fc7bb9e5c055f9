"""An asyncio web application: many wait for answers, and nobody else waits for them."""

import asyncio
import logging
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest
from tests.fix_answering import NO_REDIS, Stack
from tests.fix_db import with_user
from tests.integration.test_client import named, nothing_answered, sessions
from tests.until import until_async

from loradex.errors import (
    ClientClosedError,
    InvalidArgumentError,
    UnknownAnswerError,
    UnknownJobError,
    WaitTimeoutError,
)
from loradex.service.client import AsyncClient

WAITING = 60
UNRELATED_SECONDS = 0.1
HELD_UP_SECONDS = 5.0
"""One of many may be slow on a busy machine; what waits for an answer here waits for longer than for anything else."""

NOBODY = "0198c5f2-6d3e-7c41-9a55-0c1d2e3f4a5b"


@asynccontextmanager
async def web_application(client: AsyncClient) -> AsyncIterator[int]:
    """A web server with two pages: `/ask` asks Loradex, `/alive` says so. Gives its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        page = (await reader.readline()).split()[1]
        said = "alive"
        if page == b"/ask":
            said = (await client.ask("Does it rain?", max_new_tokens=1, method="base")).text
        writer.write(f"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{said}".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def get(port: int, page: str) -> float:
    """Ask for a page; the seconds it took."""
    started = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {page} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200"), answer
    return time.monotonic() - started


def test_a_web_application_serves_others_while_sixty_wait(answering: Stack) -> None:
    async def walk() -> list[float]:
        async with AsyncClient(named(answering, "sixty tasks"), answering.redis_url) as client:
            async with web_application(client) as port:
                with nothing_answered(answering):
                    asking = [asyncio.create_task(get(port, "/ask")) for _ in range(WAITING)]
                    await until_async(lambda: len(client.listener._waiting._waiting) == WAITING)
                    unrelated = [await get(port, "/alive") for _ in range(20)]
                    assert await asyncio.to_thread(sessions, answering, "sixty tasks") <= 4
                    # The same client serves those who do not wait, too.
                    started = time.monotonic()
                    await client.jobs(limit=1)
                    unrelated.append(time.monotonic() - started)
                    assert not any(task.done() for task in asking)
                await asyncio.gather(*asking)
            return unrelated

    unrelated = asyncio.run(walk())
    assert statistics.median(unrelated) < UNRELATED_SECONDS
    assert max(unrelated) < HELD_UP_SECONDS


def test_the_same_words_as_the_other_client(answering: Stack) -> None:
    async def walk() -> None:
        async with AsyncClient(answering.database_url, answering.redis_url) as client:
            answer = await client.ask("Is it late?", choices=["yes", "no"], metadata={"test": "async"})
            assert answer.choice in {"yes", "no"}
            (job,) = await client.jobs(metadata={"test": "async"}, state="done")
            assert await job.status() == "done"
            assert await job.wait() == answer == await client.answer(answer.answer_id)
            assert (await client.explain(answer.answer_id))["job_id"] == str(job.id)
            jobs = await client.enqueue_many(
                {"prompt": f"Async {n}?", "max_new_tokens": 1, "idempotency_key": f"async-{n}"}
                for n in range(8)
            )
            came = [one async for one in client.as_completed(jobs, timeout=60)]
            assert {one.id for one in came} == {one.id for one in jobs}
            assert (await (await client.job(str(jobs[0].id))).wait()).job_id == jobs[0].id
            with pytest.raises(InvalidArgumentError, match="did you mean choices"):
                await client.ask("Is it late?", choises=["yes"])  # type: ignore[call-arg]
            with pytest.raises(UnknownJobError):
                await client.job(NOBODY)
            with pytest.raises(UnknownAnswerError):
                await client.explain(NOBODY)

    asyncio.run(walk())


def test_a_job_is_part_of_the_callers_transaction(answering: Stack) -> None:
    url = with_user(answering.database_url, "loradex_client")

    async def walk() -> None:
        async with (
            AsyncClient(url, answering.redis_url) as client,
            await psycopg.AsyncConnection.connect(url) as mine,
        ):
            job = await client.enqueue("Mine?", max_new_tokens=1, connection=mine)
            with pytest.raises(WaitTimeoutError, match="commit the transaction"):
                await job.wait(timeout=0.1)
            await mine.commit()
            assert (await job.wait()).job_id == job.id
            with pytest.raises(InvalidArgumentError, match="psycopg connection"):
                await client.enqueue("What?", connection=5)  # type: ignore[arg-type]

    asyncio.run(walk())


def test_a_closed_client_is_closed_and_a_cut_one_goes_on(answering: Stack) -> None:
    cut = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'loradex client'"

    async def walk() -> None:
        client = AsyncClient(answering.database_url, answering.redis_url)
        await client.jobs()
        with nothing_answered(answering) as other:
            other.execute(cut)
            job = await client.enqueue("Was it cut?", max_new_tokens=1)
            waiting = asyncio.create_task(job.wait(timeout=None))
            gone = asyncio.create_task(job.wait(timeout=None))
            await until_async(
                lambda: len(client.listener._waiting._waiting.get(job.id, {}).get(None, ())) > 1
            )
            other.execute(cut)
            gone.cancel()
            await asyncio.wait([gone])
        assert (await waiting).job_id == job.id
        with nothing_answered(answering):
            last = await client.enqueue("And closed?", max_new_tokens=1)
            waiting = asyncio.create_task(last.wait(timeout=None))
            await until_async(lambda: last.id in client.listener._waiting._waiting)
            await client.close()
            with pytest.raises(ClientClosedError):
                await waiting
            for call in (client.jobs(), last.wait(), client.enqueue("Open?"), client.ask("Open?")):
                with pytest.raises(ClientClosedError, match="make a new one"):
                    await call
        await client.close()
        async with AsyncClient(answering.database_url, answering.redis_url) as another:
            await (await another.job(last.id)).wait()

    asyncio.run(walk())


def test_redis_away_is_said_and_holds_nobody_up(answering: Stack, caplog: pytest.LogCaptureFixture) -> None:
    async def walk() -> None:
        async with AsyncClient(answering.database_url, NO_REDIS) as client:
            jobs = await asyncio.gather(
                *(client.enqueue(f"Deaf {n}?", max_new_tokens=1, method="base") for n in range(20))
            )
            assert all(job.doorbell_error is not None for job in jobs)
            await asyncio.gather(*(job.wait() for job in jobs))

    with caplog.at_level(logging.WARNING):
        asyncio.run(walk())
