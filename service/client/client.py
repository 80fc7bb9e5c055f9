"""Hands jobs in, waits for answers, explains them: a few statements of SQL and a bell."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, LiteralString, Self, overload
from uuid import UUID

import psycopg
from psycopg.abc import Params
from psycopg.pq import TransactionStatus
from psycopg.rows import Row, RowFactory, class_row, tuple_row

from loradex.addresses import addresses
from loradex.db.pool import IDLE_SECONDS, Pool
from loradex.db.reconnect import repeat_through_outage
from loradex.db.session import translate_errors
from loradex.errors import (
    DatabaseUnavailableError,
    InvalidArgumentError,
    RedisUnavailableError,
    UnknownAnswerError,
    UnknownJobError,
)
from loradex.program import program_name
from loradex.service.client.answer import Answer
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
from loradex.service.client.job import Job
from loradex.service.client.listener import Listener
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
from loradex.service.client.piece_feed import PieceFeed
from loradex.service.client.request import Request
from loradex.service.client.samples import samples_of
from loradex.service.client.signatures import (
    Ask,
    AskSeveral,
    Enqueue,
    EnqueueSeveral,
    Streamed,
    StreamedSeveral,
    implements,
    takes,
)
from loradex.service.client.stream import Stream
from loradex.service.client.waiting import LOOK_AT_ONCE
from loradex.service.client.wakeup import Waker
from loradex.settings import Settings
from loradex.tracing import calling


class Client:
    """A caller's door to Loradex; may be shared by threads.

    Without arguments it reads LORADEX_DATABASE_URL and LORADEX_REDIS_URL, and failing these finds the stack
    that `loradex up` started. It has up to 4 connections to Postgres while it is used, and one more that listens where
    LORADEX_LISTEN_URL is set; none while it is not used.
    """

    def __init__(
        self,
        database_url: str | None = None,
        redis_url: str | None = None,
        *,
        settings: Settings | None = None,
    ) -> None:
        told = settings or Settings()
        if database_url is None or redis_url is None:
            found = addresses(told)
            database_url = database_url or found.database_url
            redis_url = redis_url or found.redis_url
        self._pool = self._connections(database_url, CONNECTIONS, told.prepare_threshold)
        self._ears = self._pool
        if told.listen_url is not None:
            self._ears = self._connections(told.listen_url.get_secret_value(), 1, told.prepare_threshold)
        self._waker = Waker(redis_url)
        self._log = logging.getLogger("loradex.client")
        self.listener = Listener(self._ears)
        self._feed = PieceFeed(redis_url)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back, for good; jobs handed in go on without us, waits end with an error."""
        self.listener.close()
        self._feed.close()
        self._waker.close()
        self._ears.close()
        self._pool.close()

    @overload
    @takes(Ask)
    def ask(self, request: Request) -> Answer: ...
    @overload
    @takes(AskSeveral)
    def ask(self, request: Request) -> list[Answer]: ...
    @implements(AskSeveral)
    def ask(
        self, request: Request, *, n: int | None = None, timeout: float | None = 60.0
    ) -> Answer | list[Answer]:
        """Hand one job in and wait for its answer. Raises as `enqueue` and `Job.wait` do.

        With `n` the list of so many answers, each with a seed of its own; see `enqueue`.
        """
        require_seconds(timeout)
        jobs = self.enqueue_many(samples_of(request, 1 if n is None else n))
        if n is None:
            return jobs[0].wait(timeout)
        deadline = Deadline(timeout)
        return [job.wait(deadline.left()) for job in jobs]

    @overload
    @takes(Streamed)
    def stream(self, request: Request) -> Stream: ...
    @overload
    @takes(StreamedSeveral)
    def stream(self, request: Request) -> list[Stream]: ...
    @implements(StreamedSeveral)
    def stream(
        self, request: Request, *, n: int | None = None, timeout: float | None = 60.0, cancel: bool = False
    ) -> Stream | list[Stream]:
        """Hand one job in, and give the pieces of its text as they are written: `for piece in client.stream(...)`.

        Afterwards the stream has the answer. Raises as `enqueue` does, and while it is read as `Stream.__next__`.

        Args:
            request: The prompt and the other fields.
            n: Gives a list of so many streams, which may be read one after the other: none loses what it did not hear.
            timeout: Seconds until the answer must be there; None waits for ever.
            cancel: Leaving `with client.stream(...)` before the end cancels the job.
        """
        require_seconds(timeout)
        jobs = self.enqueue_many(samples_of(replace(request, stream=True), 1 if n is None else n))
        streams = [job.stream(timeout, cancel=cancel) for job in jobs]
        return streams[0] if n is None else streams

    @overload
    @takes(Enqueue)
    def enqueue(self, request: Request) -> Job: ...
    @overload
    @takes(EnqueueSeveral)
    def enqueue(self, request: Request) -> list[Job]: ...
    @implements(EnqueueSeveral)
    def enqueue(
        self,
        request: Request,
        *,
        n: int | None = None,
        connection: psycopg.Connection[Any] | None = None,
    ) -> Job | list[Job]:
        """Hand one job in: a prompt and the other fields of `Request`.

        Returns when the job is committed. If Redis is down then, the job is accepted all the same: a warning
        is logged and `job.doorbell_error` says why. With `connection` the job becomes part of the caller's
        transaction, and workers hear of it at the commit.

        With `n`, from 1 to 16, it gives the list of so many jobs, all of them handed in or none. Their seeds are
        counted up from `seed`; without one each draws by its own id. At `sampling_temperature` 0 they write the same.

        Raises:
            InvalidArgumentError, UnknownNameError: The job is refused; nothing was written.
            QueueFullError: Too many jobs wait.
            IdempotencyConflictError: The key was used for a different job.
            DatabaseUnavailableError: Without an `idempotency_key` it may be unknown whether the job was
                accepted.
        """
        jobs = self.enqueue_many(samples_of(request, 1 if n is None else n), connection=connection)
        return jobs[0] if n is None else jobs

    def enqueue_many(
        self,
        jobs: Iterable[Request | Mapping[str, Any]],
        *,
        connection: psycopg.Connection[Any] | None = None,
    ) -> list[Job]:
        """Hand many jobs in, in one round trip: all of them or none. Raises as `enqueue` does."""
        call = Call.of(jobs)
        if call is None:
            return []
        if connection is not None:
            return [
                Job(self, job_id, created=created) for job_id, created in _insert_within(connection, call)
            ]
        if call.large:
            call.require_room(self._fetched(MOST_BYTES))
        with calling("loradex.enqueue_jobs"):
            rows = self._fetched(ENQUEUE, (call.document,), seconds=REPEAT_SECONDS if call.keyed else 0)
        error = self._wake_workers([job_id for job_id, created in rows if created])
        return [Job(self, job_id, created=created, doorbell_error=error) for job_id, created in rows]

    def job(self, job_id: UUID | str) -> Job:
        """The job of that id; `UnknownJobError` if there is none, or it is not this user's."""
        job = Job(self, uuid_of(job_id, UnknownJobError))
        self.outcome(job.id)
        return job

    def jobs(
        self,
        *,
        state: Status | None = None,
        metadata: Mapping[str, str] | None = None,
        limit: int = 100,
        after: Job | UUID | str | None = None,
    ) -> list[Job]:
        """A page of the jobs that this user handed in, newest first; `job.facts` has what was listed.

        Args:
            state: Those in this state only.
            metadata: Those with these pairs in their metadata only.
            limit: Jobs of a page, 1,000 at most.
            after: The last job of the page before.
        """
        found = self._fetched(OWN_JOBS, page_of(state, metadata, limit, after), class_row(JobFacts))
        return [Job(self, facts.job_id, facts=facts) for facts in found]

    def as_completed(self, jobs: Iterable[Job], timeout: float | None = None) -> Iterator[Job]:
        """The jobs in the order in which they end; `job.wait()` then has its answer at once.

        When the time is over Postgres is asked once more: with `timeout=0` it gives those that have ended.

        Raises:
            WaitTimeoutError: Some had not ended after `timeout` seconds.
        """
        left = {job.id: job for job in jobs}
        deadline = Deadline(timeout)
        with self.listener.watch(list(left)) as ended:
            while left:
                try:
                    outcome = ended.get(timeout=deadline.left())
                except Empty:
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
        for outcome in self._ended(list(left)):
            job = left.pop(outcome.job_id)
            job.keep(outcome)
            yield job
        if left:
            raise unfinished(len(left), timeout)

    @contextmanager
    def listening(self, job_id: UUID) -> "Iterator[SimpleQueue[Any]]":
        """A queue that gets what is told of a job: messages of its text as they come, and how it ended (`Told`)."""
        try:
            ((key,),) = self._fetched(PIECES_KEY, (job_id,)) or [(None,)]
        except DatabaseUnavailableError:
            key = None  # whoever waits for the answer waits this out
        with self.listener.watch([job_id]) as came:
            if key is None:
                yield came
                return
            self._feed.listen(key, came.put)
            try:
                yield came
            finally:
                self._feed.leave(key, came.put)

    def outcome(self, job_id: UUID) -> JobOutcome:
        """How far a job is, and its answer if it has one."""
        return known(self._fetched(OUTCOME, {"job": job_id}, class_row(JobOutcome)), job_id)

    def cancel(self, jobs: Sequence[UUID]) -> list[Status]:
        """End jobs that have no answer yet, all or none; the state each is in now. See `Job.cancel`."""
        found: dict[UUID, Status] = dict(self._fetched(CANCEL, (list(jobs),)))
        return [found[job] for job in jobs]

    def obstacle(self, job_id: UUID) -> str | None:
        """Why a job does not move, as a sentence; None if a worker will take it."""
        return next((told for (told,) in self._fetched(OBSTACLE, (job_id,))), None)

    def answer(self, answer_id: UUID | str) -> Answer:
        """An answer with the provenance that a program needs.

        Raises:
            JobFailedError: Its texts were erased.
            UnknownAnswerError: There is none of that id, or it is another user's.
        """
        return Answer.of(self.explain(answer_id))

    def explain(self, answer_id: UUID | str) -> dict[str, Any]:
        """Everything that is known about an answer: the document `loradex.explain` returns."""
        return explained(self._fetched(EXPLAIN, (uuid_of(answer_id, UnknownAnswerError),)), answer_id)

    def _ended(self, jobs: Sequence[UUID]) -> Iterator[JobOutcome]:
        """Of these jobs the outcomes that there are."""
        for start in range(0, len(jobs), LOOK_AT_ONCE):
            some = list(jobs[start : start + LOOK_AT_ONCE])
            yield from self._fetched(ENDED, (some,), class_row(JobOutcome))

    @staticmethod
    def _connections(url: str, size: int, prepare_threshold: int | None) -> Pool:
        return Pool(
            url,
            size=size,
            application=program_name("loradex client"),
            prepare_threshold=prepare_threshold,
            idle_seconds=IDLE_SECONDS,
        )

    def _fetched(
        self,
        statement: LiteralString,
        values: Params | None = None,
        row_factory: RowFactory[Row] = tuple_row,  # type: ignore[assignment]
        *,
        seconds: float = 0,
    ) -> list[Row]:
        """The rows of a statement, which is repeated through an outage for `seconds`."""

        def fetch() -> list[Row]:
            with self._pool.session() as session, session.cursor(row_factory=row_factory) as cursor:
                return cursor.execute(statement, values).fetchall()

        return repeat_through_outage(seconds, fetch)

    def _wake_workers(self, jobs: Sequence[UUID]) -> RedisUnavailableError | None:
        if not jobs:
            return None
        try:
            self._waker.wake(jobs)
        except RedisUnavailableError as error:
            self._log.warning("%s", error)
            return error
        return None


def _insert_within(connection: psycopg.Connection[Any], call: Call) -> list[tuple[UUID, bool]]:
    """Insert inside the caller's transaction; what is refused leaves the transaction as it was."""
    if not isinstance(connection, psycopg.Connection):
        raise InvalidArgumentError(NOT_A_CONNECTION)
    with translate_errors():
        if not connection.autocommit and connection.info.transaction_status == TransactionStatus.IDLE:
            connection.execute("select")  # begins the transaction, which is the caller's to end
        with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
            return cursor.execute(ENQUEUE, (call.document,)).fetchall()
