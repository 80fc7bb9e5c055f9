"""A stream that is left while its job is handed in cancels the job all the same, where that was wanted."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from tests.fix_answering import NO_REDIS
from tests.until import until_async

from loradex.db.session import connect
from loradex.errors import JobCancelledError
from loradex.service.client import AsyncClient
from loradex.service.client.async_stream import AsyncStream


@contextmanager
def nothing_handed_in(url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """No job is accepted while the block runs; whoever hands one in waits."""
    with connect(url) as other, other.transaction():
        other.execute("lock table loradex.queue_lock in exclusive mode")
        yield other


async def until_handing(other: psycopg.Connection[tuple[object, ...]]) -> None:
    waiting = (
        "select exists (select from pg_locks where relation = 'loradex.queue_lock'::regclass and not granted)"
    )
    await until_async(lambda: other.execute(waiting).fetchone() == (True,))


async def states(client: AsyncClient, run: str) -> list[str]:
    return sorted([await job.status() for job in await client.jobs(metadata={"run": run})])


async def entered(stream: AsyncStream) -> None:
    async with stream:
        pass


async def read(stream: AsyncStream) -> None:
    async for _ in stream:
        pass


@pytest.mark.parametrize("begin", [entered, read])
@pytest.mark.parametrize("cancel", [True, False])
def test_a_task_that_is_cancelled_takes_its_job_along(
    stocked_database: str, begin: Callable[[AsyncStream], Coroutine[Any, Any, None]], cancel: bool
) -> None:
    run = f"{begin.__name__} {cancel}"

    async def walk() -> None:
        async with AsyncClient(stocked_database, NO_REDIS) as client:
            with nothing_handed_in(stocked_database) as other:
                stream = client.stream("Is it left?", cancel=cancel, metadata={"run": run})
                task = asyncio.create_task(begin(stream))
                await until_handing(other)
                task.cancel()
                await asyncio.wait([task])
                assert task.cancelled()
        async with AsyncClient(stocked_database, NO_REDIS) as client:
            if cancel:  # the client was not closed before that was done
                assert await states(client, run) == ["cancelled"]
            else:
                assert await states(client, run) in ([], ["queued"])

    asyncio.run(walk())


def test_who_closes_it_meanwhile_cancels_it_and_no_other(stocked_database: str) -> None:
    async def walk() -> None:
        async with AsyncClient(stocked_database, NO_REDIS) as client:
            with nothing_handed_in(stocked_database) as other:
                left, goes_on = client.stream("Is it left?", n=2, cancel=True, metadata={"run": "closed"})
                reading, another = asyncio.create_task(read(left)), asyncio.create_task(read(goes_on))
                await until_handing(other)
                await left.aclose()
            with pytest.raises(JobCancelledError):
                await reading
            assert await states(client, "closed") == ["cancelled", "queued"]
            another.cancel()
            await asyncio.wait([another])
            await goes_on.aclose()
            assert await states(client, "closed") == ["cancelled", "cancelled"]

    asyncio.run(walk())
