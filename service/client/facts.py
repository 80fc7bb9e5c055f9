"""What `loradex.own_jobs` tells of a job."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, LiteralString
from uuid import UUID

from loradex.service.client.outcome import Status

OWN_JOBS: LiteralString = """
    select job_id, state as status, kind, prompt, metadata, priority, created_at, started_at, finished_at,
           error_code, error_message
    from loradex.own_jobs(%s, %s, %s, %s)"""


@dataclass(frozen=True)
class JobFacts:
    """A job as it was when it was listed.

    Attributes:
        job_id: The job's id.
        status: Its state.
        kind: `generate` or `choose`.
        prompt: The question.
        metadata: The texts noted on it.
        priority: Higher goes first.
        created_at: When it was accepted.
        started_at: When it was claimed last, or None.
        finished_at: When it ended, or None.
        error_code: Why it failed, for programs, or None.
        error_message: Why it failed, for people, or None.
    """

    job_id: UUID
    status: Status
    kind: Literal["generate", "choose"]
    prompt: str
    metadata: Mapping[str, str]
    priority: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error_code: str | None
    error_message: str | None
