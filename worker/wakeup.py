"""Hears the bell: Celery's consumer, started again whatever ends it."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

import structlog
from celery import Celery
from kombu import Queue
from kombu.asynchronous import get_event_loop, set_event_loop
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from loradex.wakeup import QUEUE, TASK, advice_on, broker_settings, reason_of

SOCKET_SECONDS = 2.0
LOOK_EVERY_SECONDS = 0.5
SHORTEST_PAUSE, LONGEST_PAUSE = 0.2, 3.0
STEADY_SECONDS = 2.0
"""A consumer that waits for messages as long as this without an error is well."""

MOST_REASONS = 8
"""So many different ones are logged before the bell is heard again: a server may invent one for every try."""

REDIS_ERRORS = (RedisError, OperationalError, OSError)
"""What Redis or the way to it is to blame for; anything else comes from what was in a message."""

STRANGE_MESSAGE = (
    "it was thrown away with the rest of the queue, and no job is lost; find out who writes there"
)


def celery_app(redis_url: str, wake: Callable[[], object]) -> Celery:
    """The Celery app of a worker, whose one task calls `wake`.

    A message says that there is work, never what the work is: whatever it carries is ignored, so a message
    that is forged, repeated or about a job that is done costs one look into Postgres and changes nothing.
    Redis forgets it as it hands it out: a bell that is lost with its worker is made good by the sweeps of the
    others, long before Redis would ring again, and keeping account of it cost half a millisecond a question.

    Raises:
        InvalidArgumentError: The URL is not one of a Redis.
    """
    app = Celery("loradex", set_as_current=False)
    app.conf.update(
        **broker_settings(redis_url),
        task_queues=[Queue(QUEUE, routing_key=QUEUE, no_ack=True)],
        # Celery acknowledges what needs no acknowledgement; so at least after the work.
        task_acks_late=True,
        worker_pool="solo",
        worker_concurrency=1,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_detect_quorum_queues=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        # `listen` tries again by itself: Celery does so for some errors and ends at the others.
        broker_connection_retry=False,
        broker_connection_retry_on_startup=False,
        broker_transport_options={
            "socket_connect_timeout": SOCKET_SECONDS,
            "socket_timeout": SOCKET_SECONDS,
            "socket_keepalive": True,
            "max_retries": 0,
        },
    )

    def answer(*_said: object, **_more: object) -> None:
        wake()

    app.task(name=TASK)(answer)
    return app


def listen(app: Celery, stop: threading.Event) -> None:
    """Answer the bell until `stop` is set; nothing that Redis does ends it.

    Redis may be away, answer with any error, or hand out what is not a message: that is logged once, and a
    new consumer listens after a pause. Bells may be lost meanwhile, jobs not: the sweeps find them.
    """
    tries = _Tries()
    while not stop.is_set():
        error = _consume(app, stop, tries.succeeded)
        if stop.is_set():
            return
        if not isinstance(error, REDIS_ERRORS):
            # More like it may wait: each forged message would end a consumer.
            _empty(app)
        stop.wait(tries.failed(error))


class _Tries:
    """Tries to listen in a row: each reason why they fail is logged once, and pauses between them grow."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("wakeup")
        self._reasons: set[str] = set()
        self._failures = 0

    def failed(self, error: BaseException) -> float:
        """One more failed; the seconds to wait before the next."""
        reason = f"{type(error).__name__}: {reason_of(error)}"
        if reason not in self._reasons and len(self._reasons) < MOST_REASONS:
            self._reasons.add(reason)
            if isinstance(error, REDIS_ERRORS):
                self._log.warning("wakeup.not_heard", reason=reason, cure=advice_on(error))
            else:
                self._log.warning("wakeup.message_refused", reason=reason, cure=STRANGE_MESSAGE)
        pause = SHORTEST_PAUSE * 2.0 ** min(self._failures, 10)
        self._failures += 1
        return min(pause, LONGEST_PAUSE)

    def succeeded(self) -> None:
        """The bell is heard."""
        if self._failures:
            self._log.info("wakeup.heard_again", tries=self._failures)
        self._reasons, self._failures = set(), 0


def _consume(app: Celery, stop: threading.Event, well: Callable[[], None]) -> BaseException:
    """Run a consumer to its end; what ended it. `well` is called once it has waited for messages in peace."""
    steady = threading.Timer(STEADY_SECONDS, well)
    steady.daemon = True
    worker = None
    try:
        worker = app.Worker(
            pool="solo",
            loglevel=logging.INFO,
            quiet=True,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            ready_callback=lambda _: steady.start(),
        )
        # Signals are ours, and so are errors: by itself Celery handles some of them and logs them at every try.
        worker.install_platform_tweaks = lambda _: None
        worker.consumer.connection_errors = ()
        worker.hub.call_repeatedly(LOOK_EVERY_SECONDS, _leave_if_set, stop)
        worker.blueprint.start(worker)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a library below raises, we listen again
        return error
    finally:
        steady.cancel()
        with suppress(Exception):
            if worker is not None:
                worker.stop()
        with suppress(Exception):
            _close_event_loop()
    return SystemExit()


def _leave_if_set(stop: threading.Event) -> None:
    if stop.is_set():
        raise SystemExit


def _close_event_loop() -> None:
    """Without this the next consumer would take over the loop, and with it the timers of the last one."""
    loop = get_event_loop()
    set_event_loop(None)
    if loop is not None:
        loop.close()


def _empty(app: Celery) -> None:
    with suppress(Exception), app.connection_for_write() as connection:
        connection.default_channel.queue_purge(QUEUE)
