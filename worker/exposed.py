"""A worker's metrics on a port of its own, if a setting names one."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from prometheus_client import CollectorRegistry

from loradex.db.session import connect, translate_errors
from loradex.metrics_port import MetricsPort
from loradex.worker.observer import Observer
from loradex.worker.repeating import Repeating
from loradex.worker.settings import WorkerSettings

EDGE_SECONDS = 600.0
"""How long the edge of the domain is taken for the same; finding it reads a sample of the library."""

LOOK_EVERY_SECONDS = 1.0


@contextmanager
def exposed(
    settings: WorkerSettings,
    database_url: str,
    registry: CollectorRegistry,
    observer: Observer,
    stop: threading.Event,
) -> Iterator[None]:
    """Serve the registry meanwhile, and tell the observer where the library's domain ends.

    Raises:
        InvalidArgumentError: Nobody can listen at the port.
    """
    if settings.metrics_port is None:
        yield
        return
    due = 0.0

    def look() -> None:
        nonlocal due
        if time.monotonic() < due:
            return
        due = time.monotonic() + EDGE_SECONDS
        # Over a connection of its own: it may take seconds, and leases must not wait for it.
        with translate_errors(), connect(database_url) as connection:
            row = connection.execute(
                "select loradex.in_domain_similarity(%s)", (settings.encoder,)
            ).fetchone()
        observer.edge = None if row is None else row[0]

    with (
        MetricsPort(settings.metrics_host, settings.metrics_port, registry) as served,
        Repeating("edge of the domain", look, LOOK_EVERY_SECONDS, stop),
    ):
        structlog.get_logger("metrics").info("metrics.listening", address=served.address)
        yield
