"""Wakes workers: a message in Redis says that there is work, never what the work is."""

from collections.abc import Sequence
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import UUID

from loradex.errors import RedisUnavailableError
from loradex.wakeup import QUEUE, TASK, advice_on, broker_settings, reason_of

if TYPE_CHECKING:
    from celery import Celery

MOST_MESSAGES = 32
"""In Redis at most, but for clients that send together: enough to wake as many workers, each of which answers
until nothing waits."""

SECONDS = 2.0

_IMPORTING = Lock()
"""Celery swaps its module while it is imported, so two threads must not import it at once (5.7)."""


class Waker:
    """Wakes workers through one Redis; Celery is imported at the first message, so a client starts quickly.

    Raises:
        InvalidArgumentError: The URL is not one of a Redis.
    """

    def __init__(self, url: str) -> None:
        self._settings = broker_settings(url)
        parts = urlsplit(url)
        self._address = f"{parts.hostname or parts.path}:{parts.port or 6379}"
        self._app: Celery | None = None

    def wake(self, jobs: Sequence[UUID]) -> None:
        """Send the ids of waiting jobs.

        Raises:
            RedisUnavailableError: Redis does not take them, whatever it or a library below says.
        """
        if self._app is not None and self._try_to_send(jobs) is None:
            return
        # The connection may have been dropped since it was used: once more over a new one.
        error = self._try_to_send(jobs)
        if error is not None:
            raise RedisUnavailableError(
                f"Redis does not answer at {self._address} as it should ({reason_of(error)}); the job is queued "
                f"and a worker's sweep will find it. The cure: {advice_on(error)}"
            ) from error

    def close(self) -> None:
        """Give the connections back; the next message makes others."""
        app, self._app = self._app, None
        if app is not None:
            with suppress(Exception):  # what is broken need not be closed well
                app.close()

    def _try_to_send(self, jobs: Sequence[UUID]) -> Exception | None:
        """Send them; the error if that fails."""
        try:
            self._send(jobs)
        except Exception as error:  # noqa: BLE001 - the job is accepted, whatever becomes of its message
            self.close()
            return error
        return None

    def _send(self, jobs: Sequence[UUID]) -> None:
        app = self._app = self._app or self._celery()
        with app.producer_or_acquire() as producer:
            for job in jobs[:MOST_MESSAGES]:
                app.send_task(TASK, args=[str(job)], producer=producer, retry=False)
            # The newest are enough: who hears one looks into Postgres afterwards. Trimmed after sending instead
            # of counted before: the worker is already on its way.
            producer.channel.client.ltrim(QUEUE, 0, MOST_MESSAGES - 1)

    def _celery(self) -> "Celery":
        with _IMPORTING:
            from celery import Celery  # noqa: PLC0415

        app = Celery("loradex.client", set_as_current=False)
        app.conf.update(
            **self._settings,
            broker_connection_timeout=SECONDS,
            broker_transport_options={
                "socket_connect_timeout": SECONDS,
                "socket_timeout": SECONDS,
                "max_retries": 0,
            },
        )
        return app
