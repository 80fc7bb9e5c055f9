"""Keeps the leases of a running batch alive, from a thread and over a connection of its own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self
from uuid import UUID

from loradex.worker.jobs import Job, Jobs
from loradex.worker.repeating import Repeating

SIGNS_OF_LIFE_A_LEASE = 3


class Leases:
    """A thread that extends the leases of the batch at hand several times a lease.

    One thread for the worker's life: starting one for each batch cost a third of a millisecond. A worker that
    is stopped or dead extends nothing.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._held: Sequence[UUID] = ()
        seconds = jobs.lease.total_seconds() / SIGNS_OF_LIFE_A_LEASE
        self._extending = Repeating("leases", self._extend, seconds)

    def __enter__(self) -> Self:
        self._extending.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._extending.__exit__(kind, error, trace)

    @contextmanager
    def kept(self, batch: Sequence[Job]) -> Iterator[None]:
        """Keep the leases of `batch` for as long as the block runs."""
        self._held = [job.id for job in batch]
        try:
            yield
        finally:
            self._held = ()

    def _extend(self) -> None:
        if held := self._held:
            self._jobs.extend(held)
