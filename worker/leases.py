"""Keeps the leases of a running batch alive, from a thread and over a connection of its own."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self
from uuid import UUID

import structlog

from loradex.errors import LoradexError
from loradex.worker.jobs import Job, Jobs

SIGNS_OF_LIFE_A_LEASE = 3


class Leases:
    """A thread that extends the leases of the batch at hand several times a lease.

    One thread for the worker's life: starting one a batch cost a question a third of a millisecond. A worker
    that is stopped or dead extends nothing.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._held: Sequence[UUID] = ()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
        self._log = structlog.get_logger("leases")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    @contextmanager
    def kept(self, batch: Sequence[Job]) -> Iterator[None]:
        """Keep the leases of `batch` for as long as the block runs."""
        self._held = [job.id for job in batch]
        try:
            yield
        finally:
            self._held = ()

    def _run(self) -> None:
        pause = self._jobs.lease.total_seconds() / SIGNS_OF_LIFE_A_LEASE
        while not self._stop.wait(pause):
            held = self._held
            if not held:
                continue
            try:
                self._jobs.extend(held)
            except LoradexError as error:
                self._log.warning("lease.not_extended", jobs=len(held), reason=str(error))
