"""Wakes workers: a message in Redis says that there is work, never what the work is."""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import UUID

from loradex.errors import RedisUnavailableError
from loradex.forks import renew_after_fork
from loradex.wakeup import QUEUE, TASK, advice_on, broker_settings, reason_of

if TYPE_CHECKING:
    from kombu.pools import ProducerPool

MOST_MESSAGES = 32
"""In Redis at most, but for clients that send together: enough to wake as many workers, each of which answers
until nothing waits."""

SECONDS = 2.0

MOST_CONNECTIONS = 4


class Waker:
    """Wakes workers through one Redis, with Celery's message and without Celery, which is large.

    kombu, its transport, is imported at the first message, so a client starts quickly.

    Raises:
        InvalidArgumentError: The URL is not one of a Redis.
    """

    def __init__(self, url: str) -> None:
        self._settings = broker_settings(url)
        parts = urlsplit(url)
        self._address = f"{parts.hostname or parts.path}:{parts.port or 6379}"
        self._producers: ProducerPool | None = None
        renew_after_fork(self)

    def wake(self, jobs: Sequence[UUID]) -> None:
        """Send the ids of waiting jobs.

        Raises:
            RedisUnavailableError: Redis does not take them, whatever it or a library below says.
        """
        if self._producers is not None and self._try_to_send(jobs) is None:
            return
        # The connection may have been dropped since it was used: once more over a new one.
        error = self._try_to_send(jobs)
        if error is not None:
            raise RedisUnavailableError(
                f"Redis does not answer at {self._address} as it should ({reason_of(error)}); the job is "
                "accepted: workers hear of it from Postgres, or look there every few seconds. "
                f"The cure: {advice_on(error)}"
            ) from error

    def close(self) -> None:
        """Give the connections back; the next message makes others."""
        producers, self._producers = self._producers, None
        if producers is not None:
            with suppress(Exception):  # what is broken need not be closed well
                producers.force_close_all()
                producers.connections.force_close_all()

    def renew(self) -> None:
        """Leave the connections to the parent of this process: redis-py closes only what is of its own process."""
        self._producers = None

    def _try_to_send(self, jobs: Sequence[UUID]) -> Exception | None:
        """Send them; the error if that fails."""
        try:
            self._send(jobs)
        except Exception as error:  # noqa: BLE001 - the job is accepted, whatever becomes of its message
            self.close()
            return error
        return None

    def _send(self, jobs: Sequence[UUID]) -> None:
        producers = self._producers = self._producers or self._connect()
        with producers.acquire(block=True) as producer:
            for job in jobs[:MOST_MESSAGES]:
                # Version 2 of Celery's protocol: arguments, named arguments, what happens afterwards.
                producer.publish(
                    [[str(job)], {}, {}],
                    headers={"lang": "py", "task": TASK, "id": str(job)},
                    correlation_id=str(job),
                    routing_key=QUEUE,
                    serializer="json",
                    retry=False,
                )
            # The newest are enough: who hears one looks into Postgres afterwards. Trimmed after sending instead
            # of counted before: the worker is already on its way.
            producer.channel.client.ltrim(QUEUE, 0, MOST_MESSAGES - 1)

    def _connect(self) -> "ProducerPool":
        from kombu import Connection  # noqa: PLC0415
        from kombu.pools import ProducerPool  # noqa: PLC0415

        connection = Connection(
            self._settings["broker_url"],
            ssl=self._settings.get("broker_use_ssl"),
            connect_timeout=SECONDS,
            transport_options={
                "socket_connect_timeout": SECONDS,
                "socket_timeout": SECONDS,
                "max_retries": 0,
            },
        )
        return ProducerPool(connection.Pool(MOST_CONNECTIONS), limit=MOST_CONNECTIONS)
