"""Keeps the leases of the jobs in hand alive and finds out which of them are over, from a thread of its own."""

import threading
import time
from collections.abc import Iterable, Sequence
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
    """The jobs in hand, and a thread that extends their leases several times a lease.

    It also asks which of them are over: cancelled, past their deadline, or claimed by another worker. One thread
    for the worker's life: starting one for each batch cost a third of a millisecond. A worker that is stopped or
    dead extends nothing.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._changed = threading.Condition()
        self._held: dict[UUID, Job] = {}
        self._over: set[UUID] = set()
        self._begun: set[UUID] = set()
        self._elsewhere: set[UUID] = set()
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

    def __len__(self) -> int:
        """How many jobs are in hand."""
        return len(self._held)

    def hold(self, jobs: Sequence[Job]) -> None:
        """Keeps the leases of these jobs, which were just claimed, until they are let go."""
        now = time.monotonic()
        with self._changed:
            if not self._held:
                self._extend_at = now + self._extend_every
            # What was cancelled since the claim was told to nobody who held it yet.
            self._look_at = min(self._look_at, now + self._pause) if self._held else now + self._pause
            for job in jobs:
                self._forget(job)
                self._held[job.id] = job

    def let_go(self, jobs: Iterable[Job]) -> None:
        """They are in hand no more. An attempt that is over does not let a later one of the same job go."""
        with self._changed:
            for job in jobs:
                held = self._held.get(job.id)
                if held is not None and held.attempt == job.attempt:
                    self._forget(job)
            self._changed.notify_all()

    def _forget(self, job: Job) -> None:
        self._held.pop(job.id, None)
        for some in (self._over, self._begun, self._elsewhere):
            some.discard(job.id)

    def wait_for(self, most: int, seconds: float) -> bool:
        """Waits until `most` jobs or fewer are worked on; False if they are not within these seconds.

        Those whose files are fetched are in hand, and not worked on.
        """
        with self._changed:
            return self._changed.wait_for(lambda: len(self._held) - len(self._elsewhere) <= most, seconds)

    def holds(self, job: Job) -> bool:
        """Whether this attempt is in hand."""
        held = self._held.get(job.id)
        return held is not None and held.attempt == job.attempt

    def wait_elsewhere(self, job: Job, *, waits: bool) -> None:
        """Whether the job waits for something that takes its time and nobody here."""
        with self._changed:
            if waits and self.holds(job):
                self._elsewhere.add(job.id)
            else:
                self._elsewhere.discard(job.id)
            self._changed.notify_all()

    def begin(self, job: Job) -> bool:
        """The job is computed from now on. False if this attempt is in hand no more."""
        with self._changed:
            if not self.holds(job):
                return False
            self._begun.add(job.id)
            return True

    def let_go_unbegun(self, job: Job) -> bool:
        """Lets the attempt go if it is in hand and was not computed yet; whether that was so."""
        with self._changed:
            if not self.holds(job) or job.id in self._begun:
                return False
            self._forget(job)
            self._changed.notify_all()
            return True

    def told(self, job: str) -> None:
        """Somebody says that a job is over; if it is in hand, Postgres is asked at once whether that is true."""
        with self._changed:
            mine = job in map(str, self._held)
        if mine:
            self._look.set()

    def over(self) -> list[Job]:
        """The jobs in hand that have ended or were claimed by another worker, as far as is known."""
        if not self._over:
            return []
        with self._changed:
            return [self._held[job] for job in self._over if job in self._held]

    def held(self) -> list[Job]:
        """The jobs in hand."""
        with self._changed:
            return list(self._held.values())

    def _step(self) -> None:
        told = self._look.wait(self._pause)
        self._look.clear()
        with self._changed:
            held = list(self._held)
        now = time.monotonic()
        if not held or not (told or now >= self._look_at):
            return
        # First, so that what raises is not repeated at once.
        self._look_at = now + min(LOOK_SECONDS, self._extend_every)
        if now >= self._extend_at:
            self._jobs.extend(held)
            self._extend_at = now + self._extend_every
        self._jobs.expire()
        over = self._jobs.over(held)
        with self._changed:
            self._over.update(job for job in over if job in self._held)
