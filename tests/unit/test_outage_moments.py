"""An outage of the tests that fails on its way in leaves the place as the next one needs it."""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from tests.faults import outages
from tests.faults.outages import WORDS, lasting
from tests.proxy import Proxy
from tests.until import until


@pytest.fixture
def heard() -> Iterator[socket.socket]:
    """Who listens behind the proxy."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@pytest.fixture
def site(heard: socket.socket) -> Iterator[Any]:
    """The way to Postgres, and a worker of whom only the signals are known."""
    signals: list[signal.Signals] = []
    way = Proxy(heard.getsockname())
    yield SimpleNamespace(
        to_postgres=way, signals=signals, worker=SimpleNamespace(send=signals.append, tail=lambda: "silence")
    )
    way.close()


def say(site: Any, heard: socket.socket, word: str) -> None:
    """Let a word go by."""
    with socket.create_connection(("127.0.0.1", site.to_postgres.port)) as worker:
        guest, _ = heard.accept()
        with guest:
            worker.sendall(word.encode())
            assert guest.recv(len(word)) == word.encode()


@pytest.fixture
def log() -> list[str]:
    return []


@contextmanager
def outage(log: list[str]) -> Iterator[None]:
    log.append("entered")
    try:
        yield
    finally:
        log.append("left")


def test_a_moment_that_never_comes_leaves_nothing_armed(
    site: Any, heard: socket.socket, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outages, "TRAP_SECONDS", 0.05)
    with pytest.raises(AssertionError, match="silence"), lasting(site, "claiming", outage(log)) as enter:
        enter()

    assert site.to_postgres.armed == 0
    say(site, heard, WORDS["claiming"])
    assert log == []
    assert site.signals[-1] == signal.SIGCONT


def test_a_step_before_the_moment_that_fails_leaves_the_worker_awake(site: Any, log: list[str]) -> None:
    with pytest.raises(RuntimeError), lasting(site, "recording", outage(log)):
        raise RuntimeError("Postgres took no jobs")

    assert (site.signals, log) == ([signal.SIGCONT], [])


def test_a_step_that_fails_in_an_outage_ends_it(site: Any, log: list[str]) -> None:
    @contextmanager
    def failing(enter: Callable[[], None]) -> Iterator[None]:
        enter()
        raise RuntimeError("nobody gave advice")
        yield

    with pytest.raises(RuntimeError), lasting(site, "idle", outage(log)) as enter, failing(enter):
        pass

    assert log == ["entered", "left"]


def test_what_entering_raises_is_raised_where_it_is_seen(site: Any, heard: socket.socket) -> None:
    @contextmanager
    def impossible() -> Iterator[None]:
        raise RuntimeError("no such state")
        yield

    with pytest.raises(RuntimeError, match="no such state"), lasting(site, "idle", impossible()) as enter:
        enter()


def test_it_is_entered_when_the_word_goes_by(
    site: Any, heard: socket.socket, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def awake(number: signal.Signals) -> None:
        site.signals.append(number)
        if number == signal.SIGCONT and not log:
            say(site, heard, WORDS["claiming"])

    site.worker.send = awake
    with lasting(site, "claiming", outage(log)) as enter:
        enter()
        until(lambda: log == ["entered"])
    assert log == ["entered", "left"]
    assert site.to_postgres.armed == 0
