"""What the API's metrics are told of each request: nothing of who asked, and nothing that was asked."""

import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from loradex.metrics import ApiMetrics

LEFT = 499
"""The status of a request whose client has left; nobody is sent it."""

OTHER = "other"
METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


class Measured:
    """One request, from its first byte to its last."""

    def __init__(self, metrics: ApiMetrics, route: Callable[[], str]) -> None:
        self.status = 0
        self.started = time.monotonic()
        self.streams = False
        self._metrics = metrics
        self._route = route
        self._first = True

    @property
    def route(self) -> str:
        """The path that answers, with its places for ids."""
        return self._route()

    @property
    def seconds(self) -> float:
        """Since it came."""
        return time.monotonic() - self.started

    def sent(self, message: Mapping[str, Any]) -> None:
        """A part of the answer goes out."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.streams = (b"content-type", b"text/event-stream") in (
                (name, value.partition(b";")[0]) for name, value in message.get("headers", ())
            )
            if self.streams:
                self._metrics.streams.inc()
        elif self.streams and self._first and message.get("body", b"").startswith(b"data:"):
            self._first = False
            self._metrics.first.labels(self._route()).observe(self.seconds)


class Measures:
    """Counts requests.

    Args:
        registry: Where the metrics are made.
        routes: The path that each endpoint is at, with its places for ids; others are `other`.
    """

    def __init__(self, registry: CollectorRegistry, routes: Mapping[Any, str]) -> None:
        self._metrics = ApiMetrics(registry)
        self._routes = routes

    @contextmanager
    def request(self, scope: MutableMapping[str, Any]) -> Iterator[Measured]:
        """A request is under way for as long as this is entered; `scope["state"]["code"]` is its error's code."""
        metrics = self._metrics

        def route() -> str:
            return self._routes.get(scope.get("endpoint"), OTHER)

        measured = Measured(metrics, route)
        metrics.under_way.inc()
        try:
            yield measured
        finally:
            metrics.under_way.dec()
            if measured.streams:
                metrics.streams.dec()
            method = scope["method"] if scope["method"] in METHODS else OTHER
            status = str(measured.status or LEFT)
            metrics.requests.labels(route(), method, status, scope["state"].get("code", "")).inc()
            metrics.seconds.labels(route()).observe(measured.seconds)
