"""Keeps the leases of a running batch alive and finds out which of its jobs are over, from a thread of its own."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self
from uuid import UUID

from loradex.worker.jobs import Job, Jobs
from loradex.worker.repeating import Repeating

SIGNS_OF_LIFE_A_LEASE = 3
LOOK_SECONDS = 5.0
"""How often Postgres is asked which jobs are over; what is cancelled is mostly heard of at once."""

PAUSE_SECONDS = 0.25
"""Longest pause of the thread, and so the longest that stopping it takes."""


class Leases:
    """A thread that extends the leases of the batch at hand several times a lease.

    It also asks which jobs of the batch are over: cancelled, past their deadline, or claimed by another worker.
    One thread for the worker's life: starting one for each batch cost a third of a millisecond. A worker that
    is stopped or dead extends nothing.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._held: frozenset[UUID] = frozenset()
        self._over: set[UUID] = set()
        self._look = threading.Event()
        self._extend_every = jobs.lease.total_seconds() / SIGNS_OF_LIFE_A_LEASE
        self._pause = min(PAUSE_SECONDS, self._extend_every / 2)
        self._extend_at = self._look_at = 0.0
        self._running = Repeating("leases", self._step, 0)

    def __enter__(self) -> Self:
        self._running.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.__exit__(kind, error, trace)

    @contextmanager
    def kept(self, batch: Sequence[Job]) -> Iterator[None]:
        """Keep the leases of `batch` for as long as the block runs."""
        now = time.monotonic()
        self._extend_at = now + self._extend_every
        # What was cancelled since the claim was told to nobody who held it yet.
        self._look_at = now + self._pause
        self._over = set()
        self._held = frozenset(job.id for job in batch)
        try:
            yield
        finally:
            self._held = frozenset()

    def told(self, job: str) -> None:
        """Somebody says that a job is over; if it is in hand, Postgres is asked at once whether that is true."""
        if job in map(str, self._held):
            self._look.set()

    def is_over(self, job: UUID) -> bool:
        """Whether the job of the batch has ended or was claimed by another worker, as far as is known."""
        return job in self._over

    def _step(self) -> None:
        told = self._look.wait(self._pause)
        self._look.clear()
        held, now = self._held, time.monotonic()
        if not held or not (told or now >= self._look_at):
            return
        # First, so that what raises is not repeated at once.
        self._look_at = now + min(LOOK_SECONDS, self._extend_every)
        if now >= self._extend_at:
            self._jobs.extend(list(held))
            self._extend_at = now + self._extend_every
        self._jobs.expire()
        self._over.update(self._jobs.over(list(held)))
