"""`Client` for asyncio: the same words, awaited."""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from copy import copy
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, LiteralString, Self, overload
from uuid import UUID

import psycopg
from psycopg.abc import Params
from psycopg.pq import TransactionStatus
from psycopg.rows import AsyncRowFactory, Row, class_row, dict_row, tuple_row
from psycopg.sql import Composed

from loradex.addresses import addresses
from loradex.db.async_pool import AsyncPool
from loradex.db.pool import IDLE_SECONDS
from loradex.db.reconnect import repeat_through_outage_async
from loradex.db.session import translate_errors
from loradex.errors import (
    DatabaseUnavailableError,
    InvalidArgumentError,
    RedisUnavailableError,
    UnknownAnswerError,
    UnknownJobError,
)
from loradex.program import program_name
from loradex.service.client.acting import fetched
from loradex.service.client.answer import Answer
from loradex.service.client.async_job import AsyncJob
from loradex.service.client.async_listener import AsyncListener
from loradex.service.client.async_piece_feed import AsyncPieceFeed
from loradex.service.client.async_stream import AsyncStream
from loradex.service.client.async_wakeup import AsyncWaker
from loradex.service.client.calls import (
    CONNECTIONS,
    ENQUEUE,
    EXPLAIN,
    MOST_BYTES,
    NOT_A_CONNECTION,
    PIECES_KEY,
    REPEAT_SECONDS,
    Call,
    explained,
    page_of,
    uuid_of,
)
from loradex.service.client.deadline import Deadline, require_seconds
from loradex.service.client.facts import OWN_JOBS, JobFacts
from loradex.service.client.outcome import (
    CANCEL,
    ENDED,
    OBSTACLE,
    OUTCOME,
    JobOutcome,
    Status,
    known,
    unfinished,
)
from loradex.service.client.request import Request
from loradex.service.client.samples import samples_of
from loradex.service.client.signatures import (
    Ask,
    AskSeveral,
    AsyncEnqueue,
    AsyncEnqueueSeveral,
    Streamed,
    StreamedSeveral,
    implements,
    takes,
)
from loradex.service.client.together import Together
from loradex.service.client.waiting import LOOK_AT_ONCE
from loradex.service.client.wakeup import Waker
from loradex.settings import Settings
from loradex.tracing import calling

KEPT_SECONDS = 5.0
"""How long the end of a client waits for work that nobody waits for any more."""


class AsyncClient:
    """`Client` for the tasks of one event loop; arguments, answers and errors are the same.

    Attributes:
        listener: Hears of the jobs that are waited for.
        key_taken: Whether Postgres has taken the key that this client acts with, at a call of its own.
    """

    def __init__(
        self,
        database_url: str | None = None,
        redis_url: str | None = None,
        *,
        settings: Settings | None = None,
        connections: int = CONNECTIONS,
    ) -> None:
        told = settings or Settings()
        if database_url is None or redis_url is None:
            found = addresses(told)
            database_url = database_url or found.database_url
            redis_url = redis_url or found.redis_url
        self._pool = self._connections(database_url, connections, told.prepare_threshold)
        self._ears = self._pool
        if told.listen_url is not None:
            self._ears = self._connections(told.listen_url.get_secret_value(), 1, told.prepare_threshold)
        self._waker = AsyncWaker(Waker(redis_url))
        self._log = logging.getLogger("loradex.client")
        self.listener = AsyncListener(self._ears)
        self._feed = AsyncPieceFeed(redis_url)
        self._kept: set[asyncio.Task[None]] = set()
        self._key: str | None = None
        self.key_taken = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def acting_for(self, key: str) -> Self:
        """This client for the owner of an API key (`loradex.authenticate`): the same connections, other rows.

        The login must be one of the role client alone. Closing one of them closes all.
        """
        made = copy(self)
        made._key, made.key_taken = key, False  # noqa: SLF001 - it is of our own class
        return made

    def watch(self, jobs: Collection[UUID]) -> AbstractAsyncContextManager["asyncio.Queue[Any]"]:
        """A queue that gets the outcome of each of these jobs, or an error instead of them (`Ended`)."""
        return self.listener.watch(jobs, self._key)

    def keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Have this done, at the end before the client is closed, though nobody waits for it."""
        task = asyncio.ensure_future(work)
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)

    async def close(self) -> None:
        """Give the connections back, for good; jobs handed in go on without us, waits end with an error."""
        if self._kept:
            await asyncio.wait(self._kept, timeout=KEPT_SECONDS)
        await self.listener.close()
        await self._feed.close()
        await self._waker.close()
        await self._ears.close()
        await self._pool.close()

    @overload
    @takes(Ask)
    async def ask(self, request: Request) -> Answer: ...
    @overload
    @takes(AskSeveral)
    async def ask(self, request: Request) -> list[Answer]: ...
    @implements(AskSeveral)
    async def ask(
        self,
        request: Request,
        *,
        n: int | None = None,
        timeout: float | None = 60.0,  # noqa: ASYNC109 - the same words as `Client.ask`
    ) -> Answer | list[Answer]:
        """Hand one job in and wait for its answer; with `n` the list of so many answers."""
        require_seconds(timeout)
        jobs = await self.enqueue_many(samples_of(request, 1 if n is None else n))
        if n is None:
            return await jobs[0].wait(timeout)
        deadline = Deadline(timeout)
        return [await job.wait(deadline.left()) for job in jobs]

    @overload
    @takes(Streamed)
    def stream(self, request: Request) -> AsyncStream: ...
    @overload
    @takes(StreamedSeveral)
    def stream(self, request: Request) -> list[AsyncStream]: ...
    @implements(StreamedSeveral)
    def stream(
        self,
        request: Request,
        *,
        n: int | None = None,
        timeout: float | None = 60.0,
        cancel: bool = False,
    ) -> AsyncStream | list[AsyncStream]:
        """Hand one job in, and give the pieces of its text: `async for piece in client.stream(...)`.

        The job is handed in when the first piece is asked for, or `async with` is entered: with `n`, all the jobs when
        the first stream is. See `Client.stream`.
        """
        require_seconds(timeout)
        asked = samples_of(replace(request, stream=True), 1 if n is None else n)
        jobs = Together(lambda: self.enqueue_many(asked))
        streams = [
            AsyncStream(partial(jobs.job, place), keep=self.keep, timeout=timeout, cancel=cancel)
            for place in range(len(asked))
        ]
        return streams[0] if n is None else streams

    @overload
    @takes(AsyncEnqueue)
    async def enqueue(self, request: Request) -> AsyncJob: ...
    @overload
    @takes(AsyncEnqueueSeveral)
    async def enqueue(self, request: Request) -> list[AsyncJob]: ...
    @implements(AsyncEnqueueSeveral)
    async def enqueue(
        self,
        request: Request,
        *,
        n: int | None = None,
        connection: psycopg.AsyncConnection[Any] | None = None,
    ) -> AsyncJob | list[AsyncJob]:
        """Hand one job in; with `n` so many, as a list. See `Client.enqueue`."""
        jobs = await self.enqueue_many(samples_of(request, 1 if n is None else n), connection=connection)
        return jobs[0] if n is None else jobs

    async def enqueue_many(
        self,
        jobs: Iterable[Request | Mapping[str, Any]],
        *,
        connection: psycopg.AsyncConnection[Any] | None = None,
    ) -> list[AsyncJob]:
        """Hand many jobs in, in one round trip: all of them or none."""
        jobs = list(jobs)
        # Thousands of jobs are a while of work, and other tasks shall not wait for it.
        call = await asyncio.to_thread(Call.of, jobs) if len(jobs) > 1 else Call.of(jobs)
        if call is None:
            return []
        if connection is not None:
            if self._key is not None:
                raise InvalidArgumentError(
                    "a transaction of yours is its login's: use a client without a key"
                )
            return [
                AsyncJob(self, job_id, created=created)
                for job_id, created in await _insert_within(connection, call)
            ]
        if call.large:
            call.require_room(await self._fetched(MOST_BYTES))
        with calling("loradex.enqueue_jobs"):
            rows = await self._fetched(ENQUEUE, (call.document,), seconds=REPEAT_SECONDS if call.keyed else 0)
        error = await self._wake_workers([job_id for job_id, created in rows if created])
        return [AsyncJob(self, job_id, created=created, doorbell_error=error) for job_id, created in rows]

    async def job(self, job_id: UUID | str) -> AsyncJob:
        """The job of that id; `UnknownJobError` if there is none, or it is not this user's."""
        job = AsyncJob(self, uuid_of(job_id, UnknownJobError))
        await self.outcome(job.id)
        return job

    async def jobs(
        self,
        *,
        state: Status | None = None,
        metadata: Mapping[str, str] | None = None,
        limit: int = 100,
        after: AsyncJob | UUID | str | None = None,
    ) -> list[AsyncJob]:
        """A page of the jobs that this user handed in; see `Client.jobs`."""
        found = await self._fetched(OWN_JOBS, page_of(state, metadata, limit, after), class_row(JobFacts))
        return [AsyncJob(self, facts.job_id, facts=facts) for facts in found]

    async def as_completed(
        self,
        jobs: Iterable[AsyncJob],
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> AsyncIterator[AsyncJob]:
        """The jobs in the order in which they end; see `Client.as_completed`."""
        left = {job.id: job for job in jobs}
        deadline = Deadline(timeout)
        async with self.watch(list(left)) as ended:
            while left:
                try:
                    async with asyncio.timeout(deadline.left()):
                        outcome = await ended.get()
                except TimeoutError:
                    break
                if isinstance(outcome, Exception):
                    raise outcome
                job = left.pop(outcome.job_id)
                job.keep(outcome)
                yield job
        if not left:
            return
        if self.listener.outage is not None:
            raise self.listener.outage
        for outcome in await self._ended(list(left)):
            job = left.pop(outcome.job_id)
            job.keep(outcome)
            yield job
        if left:
            raise unfinished(len(left), timeout)

    @asynccontextmanager
    async def listening(self, job_id: UUID) -> "AsyncIterator[asyncio.Queue[Any]]":
        """A queue that gets what is told of a job; see `Client.listening`."""
        try:
            ((key,),) = await self._fetched(PIECES_KEY, (job_id,)) or [(None,)]
        except DatabaseUnavailableError:
            key = None  # whoever waits for the answer waits this out
        async with self.watch([job_id]) as came:
            if key is None:
                yield came
                return
            self._feed.listen(key, came.put_nowait)
            try:
                yield came
            finally:
                self._feed.leave(key, came.put_nowait)

    async def outcome(self, job_id: UUID) -> JobOutcome:
        """How far a job is, and its answer if it has one."""
        return known(await self._fetched(OUTCOME, {"job": job_id}, class_row(JobOutcome)), job_id)

    async def cancel(self, jobs: Sequence[UUID]) -> list[Status]:
        """End jobs that have no answer yet, all or none; see `Client.cancel`."""
        found: dict[UUID, Status] = dict(await self._fetched(CANCEL, (list(jobs),)))
        return [found[job] for job in jobs]

    async def obstacle(self, job_id: UUID) -> str | None:
        """Why a job does not move, as a sentence; None if a worker will take it."""
        return next((told for (told,) in await self._fetched(OBSTACLE, (job_id,))), None)

    async def answer(self, answer_id: UUID | str) -> Answer:
        """An answer with the provenance that a program needs.

        Raises:
            JobFailedError: Its texts were erased.
            UnknownAnswerError: There is none of that id, or it is another user's.
        """
        return Answer.of(await self.explain(answer_id))

    async def explain(self, answer_id: UUID | str) -> dict[str, Any]:
        """Everything that is known about an answer: the document `loradex.explain` returns."""
        found = await self._fetched(EXPLAIN, (uuid_of(answer_id, UnknownAnswerError),))
        return explained(found, answer_id)

    async def rows(
        self, statement: LiteralString | Composed, values: Params | None = None
    ) -> list[dict[str, Any]]:
        """The rows of a statement that reads, such as of a view, as this user sees them."""
        return await self._fetched(statement, values, dict_row)

    async def _ended(self, jobs: Sequence[UUID]) -> list[JobOutcome]:
        """Of these jobs the outcomes that there are."""
        found: list[JobOutcome] = []
        for start in range(0, len(jobs), LOOK_AT_ONCE):
            some = list(jobs[start : start + LOOK_AT_ONCE])
            found += await self._fetched(ENDED, (some,), class_row(JobOutcome))
        return found

    @staticmethod
    def _connections(url: str, size: int, prepare_threshold: int | None) -> AsyncPool:
        return AsyncPool(
            url,
            size=size,
            application=program_name("loradex client"),
            prepare_threshold=prepare_threshold,
            idle_seconds=IDLE_SECONDS,
        )

    async def _fetched(
        self,
        statement: LiteralString | Composed,
        values: Params | None = None,
        row_factory: AsyncRowFactory[Row] = tuple_row,  # type: ignore[assignment]
        *,
        seconds: float = 0,
    ) -> list[Row]:
        """The rows of a statement, which is repeated through an outage for `seconds`."""

        async def fetch() -> list[Row]:
            async with self._pool.session() as session:
                rows = await fetched(session, self._key, statement, values, row_factory)
                self.key_taken = self._key is not None
                return rows

        return await repeat_through_outage_async(seconds, fetch)

    async def _wake_workers(self, jobs: Sequence[UUID]) -> RedisUnavailableError | None:
        error = await self._waker.wake(jobs) if jobs else None
        if error is not None:
            self._log.warning("%s", error)
        return error


async def _insert_within(connection: psycopg.AsyncConnection[Any], call: Call) -> list[tuple[UUID, bool]]:
    """Insert inside the caller's transaction; what is refused leaves the transaction as it was."""
    if not isinstance(connection, psycopg.AsyncConnection):
        raise InvalidArgumentError(NOT_A_CONNECTION)
    with translate_errors():
        if not connection.autocommit and connection.info.transaction_status == TransactionStatus.IDLE:
            await connection.execute("select")  # begins the transaction, which is the caller's to end
        async with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
            return await (await cursor.execute(ENQUEUE, (call.document,))).fetchall()
