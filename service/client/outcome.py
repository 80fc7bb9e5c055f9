"""How far a job is, and what that means for whoever waits for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, LiteralString
from uuid import UUID

from loradex.errors import (
    JobCancelledError,
    JobExpiredError,
    JobFailedError,
    UnknownJobError,
    WaitTimeoutError,
)
from loradex.service.client.answer import Answer

Status = Literal["queued", "running", "done", "failed", "cancelled", "expired"]

OUTCOME: LiteralString = """
    select %(job)s::uuid as job_id, state as status, error_code, error_message, answer,
           (select attempt from loradex.jobs where id = %(job)s)
    from loradex.job_outcome(%(job)s)"""
ENDED: LiteralString = """
    select j.id as job_id, o.state as status, o.error_code, o.error_message, o.answer, j.attempt
    from loradex.jobs j cross join lateral loradex.job_outcome(j.id) o
    where j.id = any (%s) and (j.state not in ('queued', 'running') or j.expires_at <= now())
      and o.state not in ('queued', 'running')"""
CANCEL: LiteralString = "select job_id, state from loradex.cancel_jobs(%s)"
OBSTACLE: LiteralString = "select loradex.job_obstacle(%s)"

WITHOUT_ANSWER: Mapping[Status, type[JobFailedError]] = {
    "cancelled": JobCancelledError,
    "expired": JobExpiredError,
}
"""What is raised for a job that ended without an answer, where it did not fail."""


@dataclass(frozen=True)
class JobOutcome:
    """A job as Postgres has it at one moment; `answer` is the document of `loradex.answer_document`.

    Attributes:
        attempt: How often it was claimed: the answer is of the last attempt.
    """

    job_id: UUID
    status: Status
    error_code: str | None
    error_message: str | None
    answer: Mapping[str, Any] | None
    attempt: int

    @property
    def ended(self) -> bool:
        """Whether it stays as it is."""
        return self.status not in {"queued", "running"}

    def answered(self) -> Answer:
        """The answer of a job that has ended; `JobFailedError`, or one of its kinds, if it has none."""
        if self.answer is None:
            kind = WITHOUT_ANSWER.get(self.status, JobFailedError)
            raise kind(self.error_code or "unknown", self.error_message or "no reason recorded")
        return Answer.of(self.answer)


def known(found: Sequence[JobOutcome], job: UUID) -> JobOutcome:
    """The outcome that was found, or `UnknownJobError` where there is none."""
    if not found:
        raise UnknownJobError(f"no job {job}, or it is another user's")
    return found[0]


def too_late(
    job: UUID, outcome: JobOutcome | None, timeout: float | None, obstacle: str | None = None
) -> WaitTimeoutError:
    """The error of a wait whose time is over; `obstacle` says why the job does not move, where that is known."""
    if outcome is None:
        return WaitTimeoutError(f"no job {job} yet: commit the transaction that enqueued it, then wait")
    return WaitTimeoutError(
        f"job {job} has no answer after {timeout:g} s, it is {outcome.status}; "
        + (obstacle or "it goes on: wait again, or see `loradex status`")
    )


def unfinished(jobs: int, timeout: float | None) -> WaitTimeoutError:
    """The error of `as_completed` when its time is over."""
    return WaitTimeoutError(f"{jobs} jobs have not ended after {timeout:g} s; they go on")
