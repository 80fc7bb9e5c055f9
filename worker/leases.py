"""Keeps the leases of a running batch alive and hears which of its jobs are over, from a thread of its own."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self
from uuid import UUID

from loradex.errors import LoradexError
from loradex.worker.jobs import Job, Jobs
from loradex.worker.repeating import Repeating

SIGNS_OF_LIFE_A_LEASE = 3
LOOK_SECONDS = 5.0
"""How often Postgres is asked which jobs are over; what is cancelled is mostly heard of at once."""

HEAR_SECONDS = 0.25
"""Longest pause of the thread, and so the longest that stopping it takes."""


class Leases:
    """A thread that extends the leases of the batch at hand several times a lease.

    While there is a batch it also listens: a job may be cancelled, may reach its deadline, or may have been
    claimed by another worker. One thread for the worker's life: starting one for each batch cost a third of a
    millisecond. A worker that is stopped or dead extends nothing.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._held: frozenset[UUID] = frozenset()
        self._over: set[UUID] = set()
        self._busy = threading.Event()
        self._extend_every = jobs.lease.total_seconds() / SIGNS_OF_LIFE_A_LEASE
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
        # What was cancelled between the claim and now was told to nobody who listened.
        self._look_at = now + min(HEAR_SECONDS, self._extend_every)
        self._over = set()
        self._held = frozenset(job.id for job in batch)
        self._busy.set()
        try:
            yield
        finally:
            self._busy.clear()
            self._held = frozenset()

    def is_over(self, job: UUID) -> bool:
        """Whether the job of the batch has ended or was claimed by another worker, as far as is known."""
        return job in self._over

    def _step(self) -> None:
        held, now = self._held, time.monotonic()
        if not held:
            self._busy.wait(HEAR_SECONDS)
        elif now >= self._look_at:
            # First, so that what raises is not repeated at once.
            self._look_at = now + min(LOOK_SECONDS, self._extend_every)
            self._look(held, now)
        else:
            self._hear(held, min(HEAR_SECONDS, self._look_at - now))

    def _look(self, held: frozenset[UUID], now: float) -> None:
        if now >= self._extend_at:
            self._jobs.extend(list(held))
            self._extend_at = now + self._extend_every
        self._jobs.expire()
        self._over.update(self._jobs.over(list(held)))

    def _hear(self, held: frozenset[UUID], seconds: float) -> None:
        try:
            # Any login may send a notification, so Postgres is asked whether it is true.
            if told := held & self._jobs.stopped(seconds):
                self._over.update(self._jobs.over(list(told)))
        except LoradexError:
            # The next look tries again, and says so if it fails too.
            time.sleep(seconds)
