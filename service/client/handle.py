"""What `Job` and `AsyncJob` know by themselves."""

from uuid import UUID

from loradex.errors import RedisUnavailableError
from loradex.service.client.facts import JobFacts
from loradex.service.client.outcome import JobOutcome


class JobHandle:
    """An accepted job: it is committed in Postgres, whatever happens to this process.

    Attributes:
        id: The job's id.
        created: False if the idempotency key was used before and this is the older job.
        doorbell_error: Why Redis did not wake a worker, or None. The job is queued all the same; a worker hears of it
            from Postgres, or finds it at its next sweep.
        facts: What `client.jobs()` listed; None for a job that was not listed.
    """

    def __init__(
        self,
        job_id: UUID,
        *,
        created: bool = True,
        doorbell_error: RedisUnavailableError | None = None,
        facts: JobFacts | None = None,
    ) -> None:
        self.id = job_id
        self.created = created
        self.doorbell_error = doorbell_error
        self.facts = facts
        self._outcome: JobOutcome | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id})"

    @property
    def ended(self) -> JobOutcome | None:
        """How it ended, once that was waited for."""
        return self._outcome

    def keep(self, outcome: JobOutcome) -> None:
        """Remember how it ended, so that nobody asks again."""
        self._outcome = outcome
