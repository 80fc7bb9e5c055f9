"""`Job` for asyncio."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from loradex.errors import RedisUnavailableError, UnknownJobError
from loradex.pieces import Message
from loradex.service.client.answer import Answer
from loradex.service.client.async_stream import AsyncStream
from loradex.service.client.deadline import Deadline
from loradex.service.client.facts import JobFacts
from loradex.service.client.handle import JobHandle
from loradex.service.client.outcome import JobOutcome, Status, too_late
from loradex.service.client.waiting import Ended, is_over

if TYPE_CHECKING:
    from loradex.service.client.async_client import AsyncClient


class AsyncJob(JobHandle):
    __doc__ = JobHandle.__doc__

    def __init__(
        self,
        client: "AsyncClient",
        job_id: UUID,
        *,
        created: bool = True,
        doorbell_error: RedisUnavailableError | None = None,
        facts: JobFacts | None = None,
    ) -> None:
        super().__init__(job_id, created=created, doorbell_error=doorbell_error, facts=facts)
        self._client = client

    async def status(self) -> Status:
        """The job's state as Postgres has it now."""
        return (await self._client.outcome(self.id)).status

    async def cancel(self) -> Status:
        """End the job without an answer, unless it has ended; see `Job.cancel`."""
        return (await self._client.cancel([self.id]))[0]

    async def wait(self, timeout: float | None = 60.0) -> Answer:  # noqa: ASYNC109 - the same words as `Job.wait`
        """The answer, as soon as it is committed; arguments and errors are those of `Job.wait`."""
        outcome = self._outcome or await self._ended(timeout)
        self.keep(outcome)
        return outcome.answered()

    def stream(self, timeout: float | None = 60.0, *, cancel: bool = False) -> AsyncStream:
        """Its text as it is written, from the beginning, whenever one comes; see `AsyncClient.stream`."""

        async def handed_in() -> AsyncJob:
            return self

        return AsyncStream(handed_in, keep=self._client.keep, timeout=timeout, cancel=cancel)

    async def told(
        self, seconds: float | None, begun: Callable[[asyncio.Queue[Any]], None] = lambda _: None
    ) -> AsyncGenerator[JobOutcome | Sequence[Message]]:
        """What is heard of it within so many seconds; see `Job.told`."""
        if self._outcome is not None:
            yield self._outcome
            return
        deadline = Deadline(seconds)
        async with self._client.listening(self.id) as came:
            begun(came)
            while True:
                try:
                    async with asyncio.timeout(deadline.left()):
                        told = await came.get()
                except TimeoutError:
                    told = self._client.listener.outage or await self._looked_at(seconds)
                if isinstance(told, Exception):
                    raise told
                if isinstance(told, JobOutcome):
                    self.keep(told)
                    yield told
                    return
                if is_over(told):
                    self._client.listener.look()
                yield told

    async def _ended(self, seconds: float | None) -> JobOutcome:
        deadline = Deadline(seconds)
        async with self._client.watch([self.id]) as ended:
            try:
                async with asyncio.timeout(deadline.left()):
                    told: Ended = await ended.get()
            except TimeoutError:
                told = self._client.listener.outage or await self._looked_at(seconds)
        if isinstance(told, Exception):
            raise told
        return told

    async def _looked_at(self, seconds: float | None) -> JobOutcome | Exception:
        """How it ended, or why it is too late to wait on."""
        try:
            outcome = await self._client.outcome(self.id)
        except UnknownJobError:
            return too_late(self.id, None, seconds)
        if outcome.ended:
            return outcome
        return too_late(self.id, outcome, seconds, await self._client.obstacle(self.id))
