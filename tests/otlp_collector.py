"""A collector that speaks OTLP over HTTP, in a thread of this process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.needs import package


class Collector:
    """Spans as they came.

    Attributes:
        spans: All of them, in no order.
        resources: What each program said of itself.
        raw: Every byte of every message.
    """

    def __init__(self, messages: Any) -> None:
        self.spans: list[Any] = []
        self.resources: list[dict[str, Any]] = []
        self.raw = b""
        self._messages = messages

    def take(self, body: bytes) -> None:
        self.raw += body
        for resource in self._messages.ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(attributes(resource.resource))
            for scope in resource.scope_spans:
                self.spans += scope.spans

    def named(self, name: str) -> Any:
        """The one span of that name."""
        (found,) = (span for span in self.spans if span.name == name)
        return found

    @property
    def names(self) -> set[str]:
        return {span.name for span in self.spans}


def attributes(told: Any) -> dict[str, Any]:
    """What a span or a resource says, by name."""
    return {one.key: _value(one.value) for one in told.attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return (
        [_value(one) for one in value.array_value.values] if kind == "array_value" else getattr(value, kind)
    )


@contextmanager
def collecting() -> Iterator[tuple[str, Collector]]:
    """Its address, and what came."""
    package("opentelemetry.sdk.trace")
    collector = Collector(package("opentelemetry.proto.collector.trace.v1.trace_service_pb2"))

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            collector.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
