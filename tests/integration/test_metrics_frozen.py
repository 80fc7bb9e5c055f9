"""Metrics while Postgres is frozen: it takes connections and what it is told, and never answers."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from urllib.parse import urlsplit, urlunsplit

import pytest
from prometheus_client import CollectorRegistry, Counter
from tests.exposition import Exposition
from tests.proxy import Proxy

from loradex.metrics_port import MetricsPort
from loradex.service.figures import PATIENCE_SECONDS, Figures

AT_ONCE = 6
LATE = PATIENCE_SECONDS + 2
"""Seconds after which a scrape was late, on a machine that is busy."""

Scrape = Callable[[], Exposition]


@contextmanager
def seen(url: str) -> Iterator[Scrape]:
    """A process that counts something, and tells it with the figures of that Postgres, which are asked each time."""
    registry = CollectorRegistry()
    Counter("counted_total", "Something else", registry=registry).inc()
    with closing(Figures(url, kept=0)) as figures:
        registry.register(figures)
        with MetricsPort("127.0.0.1", 0, registry) as port:
            yield lambda: Exposition.at(port.address)


def through(url: str, port: int) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{port}"))


def at_once(scrape: Scrape) -> list[tuple[Exposition, float]]:
    """What several get that ask together, and after how many seconds."""

    def timed(_: int) -> tuple[Exposition, float]:
        began = time.monotonic()
        return scrape(), time.monotonic() - began

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(timed, range(AT_ONCE)))


def of_readings() -> int:
    return sum(thread.name == "reading" for thread in threading.enumerate())


def test_a_server_that_says_nothing_holds_no_scrape_up() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        seen(f"postgresql://somebody:x@127.0.0.1:{silent.getsockname()[1]}/loradex") as scrape,
    ):
        for _ in range(2):
            for told, seconds in at_once(scrape):
                assert seconds < LATE
                assert told.value("loradex_database_up") == 0
                assert told.value("counted_total") == 1
                assert "loradex_chain_position" not in told.names
            assert of_readings() <= 1


@pytest.mark.parametrize("word", ["monitor_figures", "statement_timeout"])
def test_a_call_that_is_not_answered_is_ended_and_the_next_one_is(database_url: str, word: str) -> None:
    thawed = threading.Event()

    def freeze() -> None:
        thawed.wait()

    address = urlsplit(database_url)
    with (
        closing(Proxy((address.hostname or "", address.port or 0))) as way,
        seen(through(database_url, way.port)) as scrape,
    ):
        try:
            assert scrape().value("loradex_database_up") == 1
            way.cut_at(word, "during", freeze)
            for told, seconds in at_once(scrape):
                assert seconds < LATE
                assert told.value("loradex_database_up") == 0
                assert told.value("counted_total") == 1
            # The call was ended, though Postgres still says nothing over that connection.
            told = scrape()
            assert told.value("loradex_database_up") == 1
            assert "loradex_chain_position" in told.names
        finally:
            thawed.set()
