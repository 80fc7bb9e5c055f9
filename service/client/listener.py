"""Looks for the outcomes of jobs that somebody waits for: one thread and one connection for all who wait."""

import logging
import queue
import selectors
import socket
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from loradex.db.pool import Pool, is_reusable
from loradex.db.session import Session, settled
from loradex.errors import ClientClosedError, DatabaseUnavailableError
from loradex.forks import renew_after_fork
from loradex.service.client.outcome import ENDED, JobOutcome
from loradex.service.client.waiting import (
    CHANNEL,
    LONGEST_SILENCE_SECONDS,
    LOOK_AT_ONCE,
    POLL_SECONDS,
    RECONNECT_SECONDS,
    RELEASE_SECONDS,
    UNHEARD,
    Waiting,
)

FORKED = "this wait was begun before its process was forked, and goes on in the parent; wait anew, by `client.job(id)`"


class Listener:
    """A thread that lives from the first wait to `close`; it holds a connection while somebody waits.

    A notification that was missed while Postgres was away is made good: after every (re)connection it looks for all
    jobs that are waited for.

    Attributes:
        outage: Why Postgres cannot be asked now, or None.
    """

    def __init__(self, pool: Pool) -> None:
        self.outage: DatabaseUnavailableError | None = None
        self._pool = pool
        self._waiting = Waiting()
        self._state = threading.Condition()
        self._holding = False
        self._stop = threading.Event()
        self._nudge, self._nudged = _nudges()
        self._thread: threading.Thread | None = None
        self._said = False
        self._away = False
        self._log = logging.getLogger("loradex.client")
        renew_after_fork(self)

    @contextmanager
    def watch(self, jobs: Collection[UUID]) -> "Iterator[queue.SimpleQueue[Any]]":
        """A queue that gets the outcome of each job when it has ended, or an error instead of them (`Ended`).

        Whoever watches may put there what else it waits for.
        """
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        if not self._waiting:
            # It is of those who waited before; nobody has asked Postgres since.
            self.outage = None
        try:
            with self._waiting.watch(jobs, ended.put):
                self._begin()
                yield ended
        finally:
            self._end()

    def look(self) -> None:
        """Look at once where no notification comes through: a job may have ended."""
        self._wake()

    def close(self) -> None:
        with self._state:
            self._stop.set()
        self._waiting.fail(ClientClosedError("this client was closed while it waited; its jobs go on"))
        self._wake()
        if self._thread is not None:
            self._thread.join()
        self._nudge.close()
        self._nudged.close()

    def renew(self) -> None:
        """Be without a thread: it is the parent's. The connection is the pool's."""
        closed = self._stop.is_set()
        self._state, self._stop = threading.Condition(), threading.Event()
        self._holding, self._thread = False, None
        self._away, self.outage = False, None
        if closed:
            self._stop.set()
            return
        self._nudge.close()
        self._nudged.close()
        self._nudge, self._nudged = _nudges()
        self._waiting.renew(ClientClosedError(FORKED))

    def _begin(self) -> None:
        with self._state:
            if self._stop.is_set():
                raise ClientClosedError("this client was closed; make a new one")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="loradex-listener", daemon=True)
                self._thread.start()
            self._state.notify_all()
        self._wake()

    def _end(self) -> None:
        """Have the connection given back before the next call needs one, if nobody else waits."""
        if self._waiting:
            return
        self._wake()
        with self._state:
            self._state.wait_for(lambda: not self._holding or bool(self._waiting), RELEASE_SECONDS)

    def _wake(self) -> None:
        with suppress(OSError):  # it is full, so it wakes anyway; or closed
            self._nudge.send(b".")

    def _run(self) -> None:
        while not self._stop.is_set():
            if not self._waiting:
                self._nudged.recv(4096)
                continue
            try:
                with self._held(), self._pool.lent() as connection:
                    self._serve(connection)
            except DatabaseUnavailableError as error:
                if not self._away:
                    self._log.warning("listening again: %s", error)
                self._away, self.outage = True, error
                self._stop.wait(RECONNECT_SECONDS)
            except Exception as error:  # noqa: BLE001 - whoever waits is told, whatever it is
                self._waiting.fail(error)

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Say that a connection is held, until the block is left."""
        with self._state:
            self._holding = True
        try:
            yield
        finally:
            with self._state:
                self._holding = False
                self._state.notify_all()

    def _serve(self, connection: Session) -> None:
        """Look for outcomes until nobody waits."""
        if connection.pooled:
            self._say_unheard()
            self._hear(connection, ())
            return
        connection.execute(f"listen {CHANNEL}")
        try:
            self._hear(connection, (connection,))
        finally:
            # One that goes on listening and is not read would fill the queue of notifications for everybody.
            if is_reusable(connection):
                connection.execute(f"unlisten {CHANNEL}")

    def _hear(self, connection: Session, ears: Collection[Session]) -> None:
        self._look(connection, self._waiting.all())
        with selectors.DefaultSelector() as ready:
            ready.register(self._nudged, selectors.EVENT_READ)
            for ear in ears:
                ready.register(ear, selectors.EVENT_READ)
            while self._waiting and not self._stop.is_set():
                # What was said while we looked is read from the socket already, which would not wake us.
                said = _notified(ears)
                came = bool(said) or self._came(ready, LONGEST_SILENCE_SECONDS if ears else POLL_SECONDS)
                said += _notified(ears)
                self._look(
                    connection, self._waiting.worth_a_look(said) if came and ears else self._waiting.all()
                )

    def _came(self, ready: selectors.BaseSelector, seconds: float) -> bool:
        """Wait for a notification or a nudge; False after a long silence."""
        came = ready.select(seconds)
        if any(key.fileobj is self._nudged for key, _ in came):
            self._nudged.recv(4096)
        return bool(came)

    def _say_unheard(self) -> None:
        if not self._said:
            self._said = True
            self._log.warning(UNHEARD)

    def _look(self, connection: Session, jobs: Sequence[UUID]) -> None:
        some = iter(jobs)
        while chunk := list(islice(some, LOOK_AT_ONCE)):
            with settled(connection), connection.cursor(row_factory=class_row(JobOutcome)) as cursor:
                found = cursor.execute(ENDED, (chunk,)).fetchall()
            for outcome in found:
                self._waiting.deliver(outcome)
        self._away, self.outage = False, None


def _nudges() -> tuple[socket.socket, socket.socket]:
    nudge, nudged = socket.socketpair()
    nudge.settimeout(0)
    return nudge, nudged


def _notified(ears: Collection[Session]) -> list[str]:
    """The notifications that have come."""
    return [one.payload for ear in ears for one in ear.notifies(timeout=0)]
