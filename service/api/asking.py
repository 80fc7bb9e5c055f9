"""Jobs of one request: handed in together, waited for, and cancelled when whoever asked has left."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, LiteralString

from loradex.errors import IdempotencyConflictError, JobFailedError, LoradexError, WaitTimeoutError
from loradex.logs import FIELDS
from loradex.service.api.fields import Names
from loradex.service.api.problem import Problem, problem_of
from loradex.service.client import AsyncClient, AsyncJob, Request
from loradex.service.client.outcome import unfinished

WAIT_SECONDS = 300.0
KNOWN: LiteralString = """
    select count(*) from loradex.jobs
    where owner_id = (select loradex.current_owner()) and idempotency_key = any (%s)"""
MANY = 100
"""Jobs from which on they are made ready in a thread, since others shall not wait for it."""
SILENCE_SECONDS = 10.0
"""After which whoever listens is told that nothing came."""

LOG = logging.getLogger("loradex.api")

Document = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """A job that was answered, and its answer as `loradex.answer_document` tells it."""

    job: AsyncJob
    answer: Document


@dataclass(frozen=True)
class Heard:
    """Of the job at `place` of those that were handed in: a piece of its text, or at last its answer."""

    place: int
    said: str | Asked


class Asking:
    """Hands jobs in and waits for them. What is to be done for those who left is done before `close` ends."""

    def __init__(self) -> None:
        self._cancelling: set[asyncio.Task[None]] = set()

    async def answers(
        self,
        client: AsyncClient,
        requests: Sequence[Request],
        key: str | None,
        seconds: float | None,
        names: Names,
    ) -> list[Asked]:
        """The answers, in the order of the requests.

        Args:
            client: Acts for the owner of the key that was shown.
            requests: The jobs.
            key: What the client calls this request, so that asking again gives the same jobs; None: each is new.
            seconds: How long to wait.
            names: What the endpoint calls the fields of a job.

        Raises:
            Problem: There is no answer in time, or a job ended without one; its id is told.
            asyncio.CancelledError: Who asked has left. Jobs without a key are cancelled; those with one go on, since
                whoever has it may ask again.
        """
        async with self.handed_in(client, requests, key) as jobs:
            return await _waited(client, jobs, WAIT_SECONDS if seconds is None else seconds, names)

    @asynccontextmanager
    async def handed_in(
        self, client: AsyncClient, requests: Sequence[Request], key: str | None
    ) -> AsyncIterator[list[AsyncJob]]:
        """The jobs. Whoever is cancelled or closed within has left; see `answers`, and for the arguments too."""
        handing_in = asyncio.ensure_future(hand_in(client, requests, key))
        try:
            yield await asyncio.shield(handing_in)
        except (asyncio.CancelledError, GeneratorExit):
            if key is None:
                self.afterwards(_abandon(client, handing_in))
            raise

    def afterwards(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this for somebody who has left; `close` waits for it."""
        task = asyncio.create_task(work)
        self._cancelling.add(task)
        task.add_done_callback(self._cancelling.discard)

    async def close(self) -> None:
        """Wait for what is being cancelled."""
        await asyncio.gather(*self._cancelling)


async def hand_in(client: AsyncClient, requests: Sequence[Request], key: str | None) -> list[AsyncJob]:
    """Enqueue the jobs of one request; where it was sent under this key before, these are the jobs of then.

    Raises:
        IdempotencyConflictError: The key was used for another request.
    """
    if key is None:
        return await client.enqueue_many(requests)
    many = len(requests) >= MANY
    wanted = await asyncio.to_thread(keyed, requests, key) if many else keyed(requests, key)
    derived = [
        one.idempotency_key
        for one, given in zip(wanted, requests, strict=True)
        if given.idempotency_key is None
    ]
    if len(derived) > 1:
        ((known,),) = [row.values() for row in await client.rows(KNOWN, (derived,))]
        if 0 < known < len(derived):
            raise IdempotencyConflictError(
                f"idempotency key {key!a} was used before for another number of jobs; use a new key, or ask the same "
                "again"
            )
    return await client.enqueue_many(wanted)


def keyed(requests: Sequence[Request], key: str) -> list[Request]:
    """The jobs of a request with an idempotency key, each of which has a key; but one of its own stays.

    The first has the request's, so that jobs of two requests under one key meet whatever their numbers are. Those of
    the others have a blank, which no client's has.
    """
    count = len(requests)
    keys = [key, *(f"{key} {number:x}/{count:x}" for number in range(1, count))]
    return [
        one if one.idempotency_key is not None else replace(one, idempotency_key=made)
        for one, made in zip(requests, keys, strict=True)
    ]


async def _waited(client: AsyncClient, jobs: Sequence[AsyncJob], seconds: float, names: Names) -> list[Asked]:
    try:
        if len(jobs) == 1:
            await jobs[0].wait(seconds)
        else:
            async for _ in client.as_completed(jobs, seconds):
                pass
        for job in jobs:
            await job.wait(seconds)
    except (JobFailedError, WaitTimeoutError) as error:
        raise _unanswered(error, jobs, names) from error
    return [Asked(job, dict(job.ended.answer)) for job in jobs if job.ended is not None and job.ended.answer]


async def heard(
    jobs: Sequence[AsyncJob], seconds: float | None, names: Names
) -> AsyncGenerator[Heard | None]:
    """What is told of these jobs, as it comes, until all were answered; None: nothing came for a while.

    `seconds` are those until all is told; None waits for as long as something comes within `WAIT_SECONDS`.
    `names` are what the endpoint calls the fields of a job.

    Raises:
        Problem: As `Asking.answers`.
    """
    came: asyncio.Queue[Heard | Exception] = asyncio.Queue()
    last = time.monotonic()

    following = [asyncio.create_task(_follow(place, job, seconds, came)) for place, job in enumerate(jobs)]
    left = len(jobs)
    try:
        while left:
            told = await _soon(came)
            if told is None:
                if seconds is None and time.monotonic() - last > WAIT_SECONDS:
                    raise _unanswered(unfinished(left, WAIT_SECONDS), jobs, names)
                yield None
                continue
            last = time.monotonic()
            if isinstance(told, JobFailedError | WaitTimeoutError):
                raise _unanswered(told, jobs, names) from told
            if isinstance(told, Exception):
                raise told
            left -= isinstance(told.said, Asked)
            yield told
    finally:
        for one in following:
            one.cancel()
        await asyncio.gather(*following, return_exceptions=True)


async def _follow(
    place: int, job: AsyncJob, seconds: float | None, came: "asyncio.Queue[Heard | Exception]"
) -> None:
    """Puts there what is told of one job."""
    try:
        async for piece in job.stream(seconds):
            came.put_nowait(Heard(place, piece))
        if job.ended is not None and job.ended.answer is not None:
            came.put_nowait(Heard(place, Asked(job, dict(job.ended.answer))))
    except Exception as error:  # noqa: BLE001 - it is raised where the jobs are listened to
        came.put_nowait(error)


async def _soon(came: "asyncio.Queue[Heard | Exception]") -> Heard | Exception | None:
    """What comes next; None: nothing for a while."""
    try:
        async with asyncio.timeout(SILENCE_SECONDS):
            return await came.get()
    except TimeoutError:
        return None


def _unanswered(error: LoradexError, jobs: Sequence[AsyncJob], names: Names) -> Problem:
    problem = problem_of(error, names)
    ids = [str(job.id) for job in jobs]
    return replace(
        problem,
        headers={**problem.headers, "x-loradex-job-id": ids[0]},
        also={"loradex": {"job_ids": ids}},
    )


async def _abandon(client: AsyncClient, handing_in: "asyncio.Future[list[AsyncJob]]") -> None:
    """Cancel what was handed in for somebody who left, once it is known what that was."""
    try:
        jobs = await handing_in
        await client.cancel([job.id for job in jobs])
    except LoradexError as error:
        LOG.warning("jobs.not_cancelled", extra={FIELDS: {"code": error.code}})
