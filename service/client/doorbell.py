"""Rings the workers' bell: a message says that there is work, never what the work is."""

from collections.abc import Sequence
from ssl import CERT_REQUIRED
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import UUID

from loradex.errors import InvalidArgumentError, RedisUnavailableError
from loradex.urls import checked

if TYPE_CHECKING:
    from celery import Celery

TASK = "loradex.answer"
QUEUE = "loradex"
RINGS = 32
"""Messages in Redis at most, but for clients that ring together: enough to wake as many workers, each of
which answers until nothing waits."""

SECONDS = 2.0

_IMPORTING = Lock()
"""Celery swaps its module while it is imported, so two threads must not import it at once (5.7)."""


class Doorbell:
    """The bell at one Redis address; Celery is imported when it first rings, so a client starts quickly."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(checked(url, "LORADEX_REDIS_URL"))
        if parts.scheme not in {"redis", "rediss", "redis+socket"}:
            raise InvalidArgumentError(
                "LORADEX_REDIS_URL must start with redis://, rediss:// or redis+socket://"
            )
        self._url = url
        self._address = f"{parts.hostname or parts.path}:{parts.port or 6379}"
        self._app: Celery | None = None

    def ring(self, jobs: Sequence[UUID]) -> None:
        """Send the ids of waiting jobs; `RedisUnavailableError` if Redis does not take them."""
        with _IMPORTING:
            from kombu.exceptions import OperationalError  # noqa: PLC0415
            from redis.exceptions import RedisError  # noqa: PLC0415

        silent = (OperationalError, RedisError, OSError)
        try:
            self._send(jobs)
        except silent:
            self.close()  # a connection that Redis dropped meanwhile: once more over a new one
            try:
                self._send(jobs)
            except silent as error:
                self.close()
                raise RedisUnavailableError(
                    f"Redis does not answer at {self._address}; the job is queued and a worker's sweep will "
                    "find it. Start Redis with `loradex up`, or check LORADEX_REDIS_URL"
                ) from error

    def _send(self, jobs: Sequence[UUID]) -> None:
        app = self._app = self._app or self._celery()
        with app.producer_or_acquire() as producer:
            for job in jobs[:RINGS]:
                app.send_task(TASK, args=[str(job)], producer=producer, retry=False)
            # The newest bells are enough: who hears one looks into Postgres afterwards. Trimmed after ringing
            # instead of counted before: the worker is already on its way.
            producer.channel.client.ltrim(QUEUE, 0, RINGS - 1)

    def close(self) -> None:
        if self._app is not None:
            self._app.close()
            self._app = None

    def _celery(self) -> "Celery":
        with _IMPORTING:
            from celery import Celery  # noqa: PLC0415

        app = Celery("loradex.client", broker=self._url, set_as_current=False)
        app.conf.update(
            task_default_queue=QUEUE,
            task_serializer="json",
            accept_content=["json"],
            task_ignore_result=True,
            broker_connection_timeout=SECONDS,
            broker_transport_options={
                "socket_connect_timeout": SECONDS,
                "socket_timeout": SECONDS,
                "max_retries": 0,
            },
        )
        if self._url.startswith("rediss://"):
            # Left alone, kombu trusts any certificate (5.7); what the URL says about it wins over this.
            app.conf.broker_use_ssl = {"ssl_cert_reqs": CERT_REQUIRED}
        return app
