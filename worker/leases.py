"""Keeps the lease of a running batch alive, from a thread and over a connection of its own."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog

from db.errors import LoradexError
from worker.jobs import Job, Jobs

SIGNS_OF_LIFE_A_LEASE = 3


class Leases:
    """Extends the leases of the batch at hand; a worker that is stopped or dead extends nothing."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._log = structlog.get_logger("leases")

    @contextmanager
    def kept(self, batch: Sequence[Job]) -> Iterator[None]:
        """Keep the leases of `batch` for as long as the block runs."""
        done = threading.Event()
        thread = threading.Thread(target=self._keep, args=(batch, done), name="leases", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _keep(self, batch: Sequence[Job], done: threading.Event) -> None:
        ids = [job.id for job in batch]
        pause = self._jobs.lease.total_seconds() / SIGNS_OF_LIFE_A_LEASE
        while not done.wait(pause):
            try:
                self._jobs.extend(ids)
            except LoradexError as error:
                self._log.warning("lease.not_extended", jobs=len(ids), reason=str(error))
