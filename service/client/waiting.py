"""Which jobs are waited for, and by whom: what both clients' listeners share."""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from uuid import UUID

from loradex.service.client.outcome import JobOutcome

CHANNEL = "loradex_jobs"
LONGEST_SILENCE_SECONDS = 5.0
"""A notification is enough; looking now and then needs no proof that none is ever missed."""

POLL_SECONDS = 0.25
"""How often one looks where no notification comes through."""

RECONNECT_SECONDS = 0.5
RELEASE_SECONDS = 1.0
"""How long the last who waited waits for the connection to be given back."""

LOOK_AT_ONCE = 1000
"""Jobs in one statement."""

UNHEARD = (
    "a pooler is between this client and Postgres and lets no notifications through: the client asks every "
    f"{POLL_SECONDS:g} s instead; name Postgres' own address in LORADEX_LISTEN_URL"
)

Ended = JobOutcome | Exception
Deliver = Callable[[Ended], None]


class Waiting:
    """Those who wait, by job; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[UUID, list[Deliver]] = {}
        self._fresh: set[UUID] = set()
        self._keys: dict[UUID, str] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @contextmanager
    def watch(self, jobs: Collection[UUID], deliver: Deliver, key: str | None = None) -> Iterator[None]:
        """Hand the outcome of each of the jobs to `deliver`, while the block runs.

        Args:
            jobs: What is waited for.
            deliver: Gets each outcome, or an error instead of all that are left.
            key: The API key whose owner may see them; None for the login itself.
        """
        with self._lock:
            for job in jobs:
                self._waiting.setdefault(job, []).append(deliver)
                if key is not None:
                    self._keys[job] = key
            self._fresh.update(jobs)
        try:
            yield
        finally:
            with self._lock:
                for job in jobs:
                    self._forget(job, deliver)

    def all(self) -> list[UUID]:
        """Every job that is waited for."""
        with self._lock:
            self._fresh.clear()
            return list(self._waiting)

    def by_key(self, jobs: Iterable[UUID]) -> Mapping[str | None, Sequence[UUID]]:
        """The jobs that one API key may see, by key."""
        with self._lock:
            found: dict[str | None, list[UUID]] = {}
            for job in jobs:
                found.setdefault(self._keys.get(job), []).append(job)
            return found

    def worth_a_look(self, payloads: Iterable[str]) -> list[UUID]:
        """Jobs that a notification named, and those that nobody looked at yet."""
        with self._lock:
            found, self._fresh = self._fresh, set()
            return [job for job in found.union(_ids(payloads)) if job in self._waiting]

    def deliver(self, outcome: JobOutcome) -> None:
        """Hand an outcome to those who wait for it, once."""
        with self._lock:
            waiting = self._waiting.pop(outcome.job_id, [])
            self._keys.pop(outcome.job_id, None)
        for deliver in waiting:
            deliver(outcome)

    def fail(self, error: Exception, jobs: Iterable[UUID] | None = None) -> None:
        """Tell everybody, or those who wait for these jobs, that nothing will come."""
        with self._lock:
            lost = [self._waiting.pop(job, []) for job in (list(self._waiting) if jobs is None else jobs)]
            waiting = {deliver for some in lost for deliver in some}
            for job in [job for job in self._keys if job not in self._waiting]:
                del self._keys[job]
        for deliver in waiting:
            deliver(error)

    def _forget(self, job: UUID, deliver: Deliver) -> None:
        some = self._waiting.get(job, [])
        if deliver in some:
            some.remove(deliver)
        if not some:
            self._waiting.pop(job, None)
            self._keys.pop(job, None)


def _ids(payloads: Iterable[str]) -> Iterator[UUID]:
    """Any login may notify anything."""
    for payload in payloads:
        try:
            yield UUID(payload)
        except ValueError:
            continue
