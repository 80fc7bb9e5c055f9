"""A few connections to Postgres that outlive outages, for threads that share them."""

import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus

from loradex.db.outages import is_outage
from loradex.db.session import Session, opened, set_up, settled, translate_errors
from loradex.errors import ClientClosedError, DatabaseUnavailableError
from loradex.forks import let_go, renew_after_fork
from loradex.program import program_name

BUSY_SECONDS = 60.0
IDLE_SECONDS = 10.0
CLOSED = "this client was closed; make a new one"


class Pool:
    """Up to `size` connections, made when they are needed.

    A connection that is idle for long, was cut meanwhile, or whose set-up failed is closed. After an outage so is the
    one it came over, and those that were idle meanwhile: what a session has prepared before an upgrade it refuses for
    good, and after a failover it may be a replica's. One that cannot be made says why at once: a pool that retried in
    the background would only say that time is over.

    In a process that is forked it begins without a connection; those of the parent stay the parent's.

    Args:
        url: Where Postgres is.
        size: Connections at most; more callers at once wait for each other.
        application: What Postgres is told of this program.
        prepare_threshold: As for `connect`.
        prepare: What is done with every new connection before it is used.
        idle_seconds: How long an unused one is kept at least, and twice as long at most; None keeps it.
    """

    def __init__(
        self,
        url: str,
        *,
        size: int = 1,
        application: str | None = None,
        prepare_threshold: int | None = None,
        prepare: Callable[[psycopg.Connection[Any]], None] | None = None,
        idle_seconds: float | None = None,
    ) -> None:
        self._url = url
        self._size = size
        self._application = application or program_name()
        self._prepare_threshold = prepare_threshold
        self._prepare = prepare
        self._idle_seconds = idle_seconds
        self._room = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()
        self._idle: deque[tuple[float, Session]] = deque()
        self._sweeper: threading.Timer | None = None
        self._lent: dict[Session, float] = {}
        # Since when no connection could be made, or one is being made; None if the last one was.
        self._unreached: float | None = None
        self._closed = ""
        renew_after_fork(self)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A connection for one call; what Postgres reports within is raised as a typed error."""
        with self.lent() as connection, settled(connection):
            yield connection

    @contextmanager
    def lent(self) -> Iterator[Session]:
        """A connection as it is, for as long as the block runs."""
        with translate_errors():
            if not self._room.acquire(timeout=BUSY_SECONDS):
                raise busy(self._size)
            try:
                connection = self._newest_idle() or self._connected()
                outage = False
                try:
                    yield connection
                except psycopg.Error as error:
                    outage = is_outage(error)
                    raise
                finally:
                    self._take_back(connection, outage=outage)
            finally:
                self._room.release()

    def close(self) -> None:
        """Give the connections back, for good; those in use are closed after their call."""
        with self._lock:
            self._closed = self._closed or CLOSED
            if self._sweeper is not None:
                self._sweeper.cancel()
        self._close_idle()

    def hang_up(self, seconds: float) -> bool:
        """End the calls that have not been answered for `seconds`; if there are any, lend no connection any more.

        Whether there were any. What sets a new connection up counts as a call. One that cannot be made for as long is
        not tried again. For the end of a program: a server that is frozen takes what it is told and never answers.
        """
        with self._lock:
            long_ago = time.monotonic() - seconds
            waiting = [connection for connection, since in self._lent.items() if since <= long_ago]
            if waiting or (self._unreached is not None and self._unreached <= long_ago):
                self._closed = (
                    self._closed or f"Postgres did not answer for {seconds:g} s, and this program ends"
                )
            for connection in waiting:
                _shut_down(connection)
            return bool(self._closed)

    def renew(self) -> None:
        """Leave the connections to the parent of this process."""
        idle, lent = self._idle, self._lent
        self._room = threading.BoundedSemaphore(self._size)
        self._lock = threading.Lock()
        self._idle, self._lent = deque(), {}
        self._sweeper, self._unreached = None, None
        let_go(descriptors([*(connection for _, connection in idle), *lent]))
        for _, connection in idle:
            connection.close()  # what it says at parting goes nowhere

    def _newest_idle(self) -> Session | None:
        while True:
            with self._lock:
                if self._closed:
                    raise ClientClosedError(self._closed)
                if not self._idle:
                    return None
                _, connection = self._idle.pop()
                self._lent[connection] = time.monotonic()
            if is_quiet(connection) or _answers(connection):
                return connection
            self._drop(connection)

    def _connected(self) -> Session:
        with self._lock:
            if self._unreached is None:
                self._unreached = time.monotonic()
        connection = opened(self._url, self._application)
        with self._lock:
            self._unreached = None
            self._lent[connection] = time.monotonic()
        try:
            set_up(connection, self._prepare_threshold)
            if self._prepare is not None:
                with settled(connection):
                    self._prepare(connection)
        except BaseException:
            self._drop(connection)
            raise
        return connection

    def _drop(self, connection: Session) -> None:
        with self._lock:
            del self._lent[connection]
        connection.close()

    def _close_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, deque()
        for _, connection in idle:
            connection.close()

    def _take_back(self, connection: Session, *, outage: bool) -> None:
        with self._lock:
            del self._lent[connection]
            if not self._closed and not outage and is_reusable(connection):
                self._idle.append((time.monotonic(), connection))
                self._sweep_later()
                return
        connection.close()
        if outage:
            self._close_idle()

    def _sweep_later(self) -> None:
        if self._idle_seconds is not None and self._sweeper is None:
            self._sweeper = threading.Timer(self._idle_seconds, self._sweep, (self._idle_seconds,))
            self._sweeper.daemon = True
            self._sweeper.start()

    def _sweep(self, seconds: float) -> None:
        """Close what has been idle for `seconds`; the oldest lie first."""
        old = []
        with self._lock:
            self._sweeper = None
            while self._idle and self._idle[0][0] <= time.monotonic() - seconds:
                old.append(self._idle.popleft()[1])
            if self._idle:
                self._sweep_later()
        for connection in old:
            connection.close()


def descriptors(connections: Iterable[psycopg.Connection[Any] | psycopg.AsyncConnection[Any]]) -> list[int]:
    """Those of the connections that are open."""
    return [connection.fileno() for connection in connections if not connection.closed]


def busy(size: int) -> DatabaseUnavailableError:
    """The error of a caller who waited long enough for a connection."""
    return DatabaseUnavailableError(
        f"all {size} connections of this client were busy for {BUSY_SECONDS:g} s; use more clients, or fewer calls "
        "at once"
    )


def _shut_down(connection: Session) -> None:
    """Let whoever waits for an answer over the connection have an error instead."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as way:
        way.shutdown(socket.SHUT_RDWR)


def _answers(connection: Session) -> bool:
    try:
        connection.execute("select")
    except psycopg.Error:
        return False
    return True


def is_quiet(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Whether nothing came over an idle connection: a server that ends a session says so, or hangs up.

    What came may be a notification, too.
    """
    with selectors.DefaultSelector() as ready:
        ready.register(connection.fileno(), selectors.EVENT_READ)
        return not ready.select(0)


def is_reusable(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Whether a call left the connection as it found it."""
    return (
        not connection.closed
        and connection.info.transaction_status == TransactionStatus.IDLE
        and connection.info.pipeline_status == PipelineStatus.OFF
    )
