"""A job the caller has handed in."""

from collections.abc import Callable, Generator, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any
from uuid import UUID

from loradex.errors import RedisUnavailableError, UnknownJobError
from loradex.pieces import Message
from loradex.service.client.answer import Answer
from loradex.service.client.deadline import Deadline
from loradex.service.client.facts import JobFacts
from loradex.service.client.handle import JobHandle
from loradex.service.client.outcome import JobOutcome, Status, too_late
from loradex.service.client.stream import Stream
from loradex.service.client.waiting import Ended, is_over

if TYPE_CHECKING:
    from loradex.service.client.client import Client


class Job(JobHandle):
    __doc__ = JobHandle.__doc__

    def __init__(
        self,
        client: "Client",
        job_id: UUID,
        *,
        created: bool = True,
        doorbell_error: RedisUnavailableError | None = None,
        facts: JobFacts | None = None,
    ) -> None:
        super().__init__(job_id, created=created, doorbell_error=doorbell_error, facts=facts)
        self._client = client

    @property
    def status(self) -> Status:
        """The job's state as Postgres has it now."""
        return self._client.outcome(self.id).status

    def cancel(self) -> Status:
        """End the job without an answer, unless it has ended; the state it is in now.

        A job that waits ends at once, and so does one that runs: its worker drops it at the next token, and the
        other rows of its batch go on. Whoever waits for it gets `JobCancelledError`.
        """
        return self._client.cancel([self.id])[0]

    def wait(self, timeout: float | None = 60.0) -> Answer:
        """The answer, as soon as it is committed.

        Args:
            timeout: Seconds to wait; None waits for ever. An outage of Postgres meanwhile is waited out.

        Raises:
            JobFailedError: The job ended as failed; `JobCancelledError` and `JobExpiredError` are two of its kinds.
            WaitTimeoutError: No answer yet; the job goes on and may be waited for again. If no living worker takes
                jobs of its kind, the text says so.
            DatabaseUnavailableError: Postgres was away when the time was over.
            ClientClosedError: The client was closed.
        """
        outcome = self._outcome or self._ended(timeout)
        self.keep(outcome)
        return outcome.answered()

    def stream(self, timeout: float | None = 60.0, *, cancel: bool = False) -> Stream:
        """Its text as it is written, from the beginning, whenever one comes; arguments are those of `Client.stream`."""
        return Stream(self, timeout=timeout, cancel=cancel)

    def told(
        self, timeout: float | None, begun: Callable[[SimpleQueue[Any]], None] = lambda _: None
    ) -> Generator[JobOutcome | Sequence[Message]]:
        """What is heard of it within `timeout` seconds: messages of its text, and at last how it ended.

        `begun` is given where it comes from: an error that is put there is raised here.

        Raises as `wait` does, but for jobs that ended without an answer.
        """
        if self._outcome is not None:
            yield self._outcome
            return
        deadline = Deadline(timeout)
        with self._client.listening(self.id) as came:
            begun(came)
            while True:
                try:
                    told = came.get(timeout=deadline.left())
                except Empty:
                    told = self._client.listener.outage or self._looked_at(timeout)
                if isinstance(told, Exception):
                    raise told
                if isinstance(told, JobOutcome):
                    self.keep(told)
                    yield told
                    return
                if is_over(told):
                    self._client.listener.look()
                yield told

    def _ended(self, timeout: float | None) -> JobOutcome:
        deadline = Deadline(timeout)
        with self._client.listener.watch([self.id]) as ended:
            try:
                told: Ended = ended.get(timeout=deadline.left())
            except Empty:
                told = self._client.listener.outage or self._looked_at(timeout)
        if isinstance(told, Exception):
            raise told
        return told

    def _looked_at(self, timeout: float | None) -> JobOutcome | Exception:
        """How it ended, or why it is too late to wait on."""
        try:
            outcome = self._client.outcome(self.id)
        except UnknownJobError:
            return too_late(self.id, None, timeout)
        if outcome.ended:
            return outcome
        return too_late(self.id, outcome, timeout, self._client.obstacle(self.id))
