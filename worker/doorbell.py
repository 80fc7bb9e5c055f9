"""Hears the bell: the Celery app, and a consumer that survives whatever lies in Redis."""

import threading
from ssl import CERT_REQUIRED

import structlog
from celery import Celery, signals
from kombu import Queue
from kombu.exceptions import OperationalError

from loradex.urls import checked

QUEUE = "loradex"
PAUSE_SECONDS = 0.2


def bell_app(redis_url: str) -> Celery:
    """The Celery app of a worker: JSON only, one message at a time, which Redis forgets as it hands it out.

    A bell that is lost with its worker is made good by the sweeps of the others, long before Redis would ring
    again; keeping account of it there cost a question half a millisecond.
    """
    app = Celery("loradex", broker=checked(redis_url, "LORADEX_REDIS_URL"), set_as_current=False)
    app.conf.update(
        task_default_queue=QUEUE,
        task_queues=[Queue(QUEUE, routing_key=QUEUE, no_ack=True)],
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
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
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"socket_connect_timeout": 5, "socket_keepalive": True},
    )
    if redis_url.startswith("rediss://"):
        # Left alone, kombu trusts any certificate (5.7); what the URL says about it wins over this.
        app.conf.broker_use_ssl = {"ssl_cert_reqs": CERT_REQUIRED}
    return app


def listen(app: Celery, stop: threading.Event) -> None:
    """Consume until SIGTERM or Ctrl-C, which set `stop`.

    A message that is no Celery message ends the consumer with an exception (kombu 5.7), and more like it may
    wait. So the consumer is started again over an emptied queue: bells may be lost, jobs not.
    """
    log = structlog.get_logger("doorbell")

    def stopping(**_: object) -> None:
        stop.set()

    signals.worker_shutting_down.connect(stopping, weak=False)
    try:
        while not stop.is_set():
            consumer = app.Worker(
                pool="solo",
                loglevel="INFO",
                quiet=True,
                without_gossip=True,
                without_mingle=True,
                without_heartbeat=True,
            )
            consumer.start()
            if not stop.is_set():
                log.warning("doorbell.restarts", exit_code=consumer.exitcode)
                _empty(app)
                stop.wait(PAUSE_SECONDS)
    finally:
        signals.worker_shutting_down.disconnect(stopping)


def _empty(app: Celery) -> None:
    try:
        with app.connection_for_write() as connection:
            connection.default_channel.queue_purge(QUEUE)
    except (OperationalError, OSError) as error:
        structlog.get_logger("doorbell").warning("doorbell.not_emptied", reason=str(error))
