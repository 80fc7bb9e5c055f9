"""Hears `NOTIFY loradex_jobs` over a connection of its own and wakes whoever waits for that job."""

import logging
import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import psycopg

from loradex.db.session import connect

CHANNEL = "loradex_jobs"
LONGEST_SILENCE_SECONDS = 5.0
RECONNECT_SECONDS = 0.5


class Listener:
    """A thread that lives from the first wait to `close`; several threads may wait at once.

    A notification that was missed while Postgres was away is made good: after every (re)connection all
    waiters are woken and look for themselves.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._waiting: dict[UUID, list[threading.Event]] = {}
        self._stop = threading.Event()
        self._nudge, self._nudged = socket.socketpair()
        self._thread: threading.Thread | None = None
        self._log = logging.getLogger("loradex.client")

    @contextmanager
    def waiting_for(self, job: UUID) -> Iterator[threading.Event]:
        """An event that is set when the job may have ended; clear it, then look."""
        event = threading.Event()
        with self._lock:
            self._waiting.setdefault(job, []).append(event)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="loradex-listener", daemon=True)
                self._thread.start()
        try:
            yield event
        finally:
            with self._lock:
                self._waiting[job].remove(event)
                if not self._waiting[job]:
                    del self._waiting[job]

    def close(self) -> None:
        self._stop.set()
        self._nudge.send(b".")
        if self._thread is not None:
            self._thread.join()
        self._nudge.close()
        self._nudged.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with connect(self._url) as connection:
                    connection.execute(f"listen {CHANNEL}")
                    self._wake_all()
                    self._hear(connection)
            except Exception as error:  # noqa: BLE001 - without this thread every wait would take seconds longer
                self._log.warning("listening again: %s", error)
                self._stop.wait(RECONNECT_SECONDS)

    def _hear(self, connection: psycopg.Connection[object]) -> None:
        with selectors.DefaultSelector() as ready:
            ready.register(connection, selectors.EVENT_READ)
            ready.register(self._nudged, selectors.EVENT_READ)
            while not self._stop.is_set():
                ready.select(LONGEST_SILENCE_SECONDS)
                for notice in connection.notifies(timeout=0):
                    self._wake(notice.payload)

    def _wake(self, payload: str) -> None:
        try:
            job = UUID(payload)
        except ValueError:
            return
        with self._lock:
            for event in self._waiting.get(job, ()):
                event.set()

    def _wake_all(self) -> None:
        with self._lock:
            for events in self._waiting.values():
                for event in events:
                    event.set()
