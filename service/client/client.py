"""Hands jobs in, waits for answers, explains them: three statements of SQL and a bell."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, LiteralString, Self
from uuid import UUID

from psycopg.rows import class_row

from loradex.addresses import addresses
from loradex.db.reconnect import Reconnecting, repeat_through_outage
from loradex.errors import (
    InvalidArgumentError,
    RedisUnavailableError,
    UnknownAnswerError,
    UnknownJobError,
)
from loradex.service.client.answer import Answer
from loradex.service.client.job import Job, Status
from loradex.service.client.listener import Listener
from loradex.service.client.request import Request, takes_request
from loradex.service.client.wakeup import Waker
from loradex.settings import Settings

JOB_OUTCOME: LiteralString = """
    select state as status, error_code, error_message, answer from loradex.job_outcome(%s)"""
ENQUEUE: LiteralString = "select job_id, created from loradex.enqueue_jobs(%s) order by ordinal"
CANCEL: LiteralString = "select job_id, state from loradex.cancel_jobs(%s)"
REPEAT_SECONDS = 15.0
LARGE_CALL = 1 << 20
"""Characters of a document from which on its size is compared with the limit before it is sent."""


@dataclass(frozen=True)
class JobOutcome:
    """A job as Postgres has it at one moment; `answer` is the document of `loradex.answer_document`."""

    status: Status
    error_code: str | None
    error_message: str | None
    answer: dict[str, Any] | None


class Client:
    """A caller's door to Loradex; may be shared by threads.

    Without arguments it reads LORADEX_DATABASE_URL and LORADEX_REDIS_URL, and failing these finds the stack
    that `loradex up` started.
    """

    def __init__(
        self,
        database_url: str | None = None,
        redis_url: str | None = None,
        *,
        settings: Settings | None = None,
    ) -> None:
        if database_url is None or redis_url is None:
            found = addresses(settings or Settings())
            database_url = database_url or found.database_url
            redis_url = redis_url or found.redis_url
        self._database = Reconnecting(database_url)
        self._waker = Waker(redis_url)
        self._log = logging.getLogger("loradex.client")
        self.listener = Listener(database_url)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back; jobs handed in go on without us."""
        self.listener.close()
        self._waker.close()
        self._database.close()

    @takes_request(Request)
    def enqueue(self, request: Request) -> Job:
        """Hand one job in: a prompt and the other fields of `Request`.

        Returns when the job is committed. If Redis is down then, the job is accepted all the same: a warning
        is logged, `job.doorbell_error` says why, and a worker's sweep finds the job.

        Raises:
            InvalidArgumentError, UnknownNameError: The job is refused; nothing was written.
            QueueFullError: Too many jobs wait.
            IdempotencyConflictError: The key was used for a different job.
            DatabaseUnavailableError: Without an `idempotency_key` it may be unknown whether the job was
                accepted.
        """
        return self.enqueue_many([request])[0]

    def enqueue_many(self, jobs: Iterable[Request | Mapping[str, Any]]) -> list[Job]:
        """Hand many jobs in, in one round trip: all of them or none. Raises as `enqueue` does."""
        requests = [Request.of(job) for job in jobs]
        if not requests:
            return []
        rows = self._enqueue_with_retry(requests)
        error = self._wake_workers([job_id for job_id, created in rows if created])
        return [Job(self, job_id, created=created, doorbell_error=error) for job_id, created in rows]

    def job(self, job_id: UUID | str) -> Job:
        """The job of that id; `UnknownJobError` if there is none, or it is not this user's."""
        job = Job(self, _uuid(job_id, UnknownJobError))
        self.outcome(job.id)
        return job

    def outcome(self, job_id: UUID) -> JobOutcome:
        """How far a job is, and its answer if it has one."""
        with (
            self._database.session() as connection,
            connection.cursor(row_factory=class_row(JobOutcome)) as cursor,
        ):
            outcome = cursor.execute(JOB_OUTCOME, (job_id,)).fetchone()
        if outcome is None:
            raise UnknownJobError(f"no job {job_id}, or it is another user's")
        return outcome

    def cancel(self, jobs: Sequence[UUID]) -> list[Status]:
        """End jobs that have no answer yet, all or none; the state each is in now. See `Job.cancel`."""
        with self._database.session() as connection:
            found = dict(connection.execute(CANCEL, (list(jobs),)).fetchall())
        return [found[job] for job in jobs]

    def obstacle(self, job_id: UUID) -> str | None:
        """Why a job does not move, as a sentence; None if a worker will take it."""
        with self._database.session() as connection:
            row = connection.execute("select loradex.job_obstacle(%s)", (job_id,)).fetchone()
        return None if row is None else row[0]

    def answer(self, answer_id: UUID | str) -> Answer:
        """An answer with the provenance that a program needs."""
        return Answer.of(self.explain(answer_id))

    def explain(self, answer_id: UUID | str) -> dict[str, Any]:
        """Everything that is known about an answer: the document `loradex.explain` returns."""
        identity = _uuid(answer_id, UnknownAnswerError)
        with self._database.session() as connection:
            row = connection.execute("select loradex.explain(%s)", (identity,)).fetchone()
        if row is None or row[0] is None:
            raise UnknownAnswerError(f"no answer {answer_id}, or it is another user's")
        document: dict[str, Any] = row[0]
        return document

    def _enqueue_with_retry(self, requests: Sequence[Request]) -> list[tuple[UUID, bool]]:
        document = json.dumps([request.document() for request in requests], ensure_ascii=False)
        if len(document) > LARGE_CALL:
            self._require_room(len(document.encode()))
        # Without a key it is unknown after an outage whether a job was accepted: repeating could double it.
        keyed = all(request.idempotency_key is not None for request in requests)
        return repeat_through_outage(REPEAT_SECONDS if keyed else 0, self._insert, document)

    def _insert(self, document: str) -> list[tuple[UUID, bool]]:
        with self._database.session() as connection:
            return connection.execute(ENQUEUE, (document,)).fetchall()

    def _require_room(self, size: int) -> None:
        """Refuse a document here that Postgres would have to receive whole before it could refuse it."""
        with self._database.session() as connection:
            row = connection.execute(
                "select value::bigint from loradex.settings where name = 'max_call_bytes'"
            ).fetchone()
        if row is not None and size > row[0]:
            raise InvalidArgumentError(
                f"the call has {size} bytes of JSON and may have {row[0]} (setting max_call_bytes); split it"
            )

    def _wake_workers(self, jobs: Sequence[UUID]) -> RedisUnavailableError | None:
        if not jobs:
            return None
        try:
            self._waker.wake(jobs)
        except RedisUnavailableError as error:
            self._log.warning("%s", error)
            return error
        return None


def _uuid(text: UUID | str, unknown: type[UnknownJobError] | type[UnknownAnswerError]) -> UUID:
    try:
        return text if isinstance(text, UUID) else UUID(text)
    except (ValueError, AttributeError, TypeError):
        raise unknown(f"{text!r} is not an id; ids look like 0198c5f2-6d3e-7c41-9a55-0c1d2e3f4a5b") from None
