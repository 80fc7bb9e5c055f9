"""Which jobs are waited for, and by whom: what both clients' listeners share."""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from uuid import UUID

from loradex.pieces import End, Message
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
Told = Ended | Sequence[Message]
"""What whoever listens to a text is told of its job."""

Deliver = Callable[[Ended], None]


class Waiting:
    """Those who wait, by job and by the API key that they showed; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[UUID, dict[str | None, list[Deliver]]] = {}
        self._fresh: set[UUID] = set()

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
                self._waiting.setdefault(job, {}).setdefault(key, []).append(deliver)
            self._fresh.update(jobs)
        try:
            yield
        finally:
            with self._lock:
                for job in jobs:
                    self._forget(job, deliver, key)

    def all(self) -> list[UUID]:
        """Every job that is waited for."""
        with self._lock:
            self._fresh.clear()
            return list(self._waiting)

    def by_key(self, jobs: Iterable[UUID]) -> Mapping[str | None, Sequence[UUID]]:
        """The jobs that are waited for with each key."""
        with self._lock:
            found: dict[str | None, list[UUID]] = {}
            for job in jobs:
                for key in self._waiting.get(job, ()):
                    found.setdefault(key, []).append(job)
            return found

    def worth_a_look(self, payloads: Iterable[str]) -> list[UUID]:
        """Jobs that a notification named, and those that nobody looked at yet."""
        with self._lock:
            found, self._fresh = self._fresh, set()
            return [job for job in found.union(_ids(payloads)) if job in self._waiting]

    def deliver(self, outcome: JobOutcome, key: str | None = None) -> None:
        """Hand an outcome, once, to those who wait for it with the key that it was seen with."""
        with self._lock:
            waiting = self._taken(outcome.job_id, key)
        for deliver in waiting:
            deliver(outcome)

    def fail(self, error: Exception) -> None:
        """Tell everybody that nothing will come."""
        with self._lock:
            waiting = {
                deliver for keys in self._waiting.values() for some in keys.values() for deliver in some
            }
            self._waiting.clear()
        for deliver in waiting:
            deliver(error)

    def renew(self, error: Exception) -> None:
        """In a process that was forked: nobody else waits, and whoever did is told so."""
        self._lock = threading.Lock()
        self.fail(error)

    def refuse(self, error: Exception, jobs: Iterable[UUID], key: str) -> None:
        """Tell those who wait for these jobs with this key that nothing will come."""
        with self._lock:
            waiting = {deliver for job in jobs for deliver in self._taken(job, key)}
        for deliver in waiting:
            deliver(error)

    def _taken(self, job: UUID, key: str | None) -> list[Deliver]:
        keys = self._waiting.get(job, {})
        found = keys.pop(key, [])
        if not keys:
            self._waiting.pop(job, None)
        return found

    def _forget(self, job: UUID, deliver: Deliver, key: str | None) -> None:
        some = self._waiting.get(job, {}).get(key, [])
        if deliver in some:
            some.remove(deliver)
        if not some:
            self._taken(job, key)


def is_over(messages: Iterable[Message]) -> bool:
    """Whether Redis says that a text has come to its end, so that Postgres is worth a look."""
    return any(isinstance(message, End) for message in messages)


def _ids(payloads: Iterable[str]) -> Iterator[UUID]:
    """Any login may notify anything."""
    for payload in payloads:
        try:
            yield UUID(payload)
        except ValueError:
            continue
