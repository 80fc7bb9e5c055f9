"""A job the caller has handed in."""

import time
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from loradex.errors import (
    DatabaseUnavailableError,
    JobCancelledError,
    JobExpiredError,
    JobFailedError,
    RedisUnavailableError,
    WaitTimeoutError,
)
from loradex.service.client.answer import Answer

if TYPE_CHECKING:
    from loradex.service.client.client import Client

Status = Literal["queued", "running", "done", "failed", "cancelled", "expired"]

ENDED: dict[Status, type[JobFailedError]] = {
    "failed": JobFailedError,
    "cancelled": JobCancelledError,
    "expired": JobExpiredError,
}
"""How a job ends without an answer, and what is raised then."""

ASK_AGAIN_SECONDS = 5.0
"""A notification is enough; asking again now and then needs no proof that none is ever missed."""


class Job:
    """An accepted job: it is committed in Postgres, whatever happens to this process.

    Attributes:
        id: The job's id.
        created: False if the idempotency key was used before and this is the older job.
        doorbell_error: Why no worker was woken, or None. The job is queued all the same; a worker's sweep
            finds it.
    """

    def __init__(
        self,
        client: "Client",
        job_id: UUID,
        *,
        created: bool = True,
        doorbell_error: RedisUnavailableError | None = None,
    ) -> None:
        self._client = client
        self.id = job_id
        self.created = created
        self.doorbell_error = doorbell_error

    def __repr__(self) -> str:
        return f"Job({self.id})"

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
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._client.listener.waiting_for(self.id) as woken:
            while True:
                woken.clear()
                outage = None
                try:
                    outcome = self._client.outcome(self.id)
                except DatabaseUnavailableError as error:
                    outage = error
                else:
                    if outcome.answer is not None:
                        return Answer.of(outcome.answer)
                    if outcome.status in ENDED:
                        raise ENDED[outcome.status](
                            outcome.error_code or "unknown", outcome.error_message or "no reason recorded"
                        )
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    if outage is not None:
                        raise outage
                    obstacle = self._client.obstacle(self.id)
                    raise WaitTimeoutError(
                        f"job {self.id} has no answer after {timeout:g} s; "
                        + (obstacle or "it goes on: wait again, or see `loradex status`")
                    )
                woken.wait(ASK_AGAIN_SECONDS if left is None else min(left, ASK_AGAIN_SECONDS))
