"""Spans in OpenTelemetry's words. A process that names no collector, as OTEL_EXPORTER_OTLP_ENDPOINT does, makes none.

Programs of Loradex turn tracing on where they begin (`tracing`). A client in somebody else's program uses what that
program has set up. Nothing here imports OpenTelemetry unless one of the two did.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from loradex.errors import LoradexError

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C's header, of the one version that there is."""

SCOPE = "loradex"
Kind = Literal["internal", "server", "client", "consumer"]
Attributes = Mapping[str, Any]

_WITHIN: ContextVar[str | None] = ContextVar("trace of the request", default=None)
"""What a caller said, where this process makes no spans itself: it is handed on all the same."""


@dataclass(frozen=True)
class Part:
    """Something that is over, and what it was made of.

    Attributes:
        name: What it is called.
        began, ended: Nanoseconds since 1970.
        attributes: What else is told of it.
        kind: Its part in the exchange of messages.
        error: The code of the error it ended with; None: it did not.
        parts: What happened within.
    """

    name: str
    began: int
    ended: int
    attributes: Attributes = field(default_factory=dict)
    kind: Kind = "internal"
    error: str | None = None
    parts: "tuple[Part, ...]" = ()


@dataclass
class Open:
    """Something that is under way.

    Attributes:
        name: What it is called.
        attributes: What else is told of it.
        error: The code of the error it ends with.
        failed: Whether it is our fault: a server that refuses a request has not failed.
    """

    name: str
    attributes: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    failed: bool = False


def traceparent_in(text: str | None) -> str | None:
    """The trace that somebody says they are in; None for anything that is no `traceparent`."""
    return text if text is not None and TRACEPARENT.fullmatch(text) else None


def current_traceparent() -> str | None:
    """The trace that the caller is in; None: none."""
    if _tracer() is not None:
        from opentelemetry.trace import get_current_span  # noqa: PLC0415 - somebody imported it

        now = get_current_span().get_span_context()
        if now.is_valid:
            return f"00-{now.trace_id:032x}-{now.span_id:016x}-{int(now.trace_flags):02x}"
    return _WITHIN.get()


def trace_id_of(traceparent: str | None) -> str | None:
    """The id of the trace, for logs."""
    return None if traceparent is None else traceparent.split("-")[1]


@contextmanager
def within(traceparent: str | None, name: str) -> Iterator[Open]:
    """What somebody asks of us over the network is done meanwhile, in the trace that they are in.

    What stands in the open span at the end is told; where no spans are made, nobody reads it.
    """
    tracer = _tracer()
    if tracer is None:
        token = _WITHIN.set(traceparent)
        try:
            yield Open(name)
        finally:
            _WITHIN.reset(token)
        return
    with _opened(tracer, Open(name), "server", _context(traceparent)) as now:
        yield now


@contextmanager
def calling(function: str) -> Iterator[None]:
    """A function of ours in Postgres is called meanwhile."""
    tracer = _tracer()
    if tracer is None:
        yield
        return
    with _opened(tracer, Open(function, sql(function)), "client", None) as now:
        try:
            yield
        except LoradexError as error:
            now.error = error.code
            raise


@contextmanager
def _opened(tracer: "Tracer", now: Open, kind: Kind, context: Any) -> Iterator[Open]:
    """A span of what is under way. Of an exception nothing is told: its text may hold a prompt."""
    from opentelemetry.trace import SpanKind, StatusCode  # noqa: PLC0415

    with tracer.start_as_current_span(
        now.name, context, SpanKind[kind.upper()], record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield now
        finally:
            span.update_name(now.name)
            span.set_attributes(now.attributes)
            if now.error is not None:
                span.set_attribute("error.type", now.error)
            if now.failed or (now.error is not None and kind != "server"):
                span.set_status(StatusCode.ERROR)


def sql(function: str) -> dict[str, Any]:
    """What is told of a call of a function in Postgres: no value of it."""
    return {
        "db.system.name": "postgresql",
        "db.operation.name": "SELECT",
        "db.query.summary": f"SELECT {function}",
    }


def tell(part: Part, traceparent: str | None) -> None:
    """Send spans of what is over, in the trace that is named; in one of its own where none is."""
    tracer = _tracer()
    if tracer is not None:
        _tell(tracer, part, _context(traceparent))


def is_on() -> bool:
    """Whether spans are made here."""
    return _tracer() is not None


def _tell(tracer: "Tracer", part: Part, context: Any) -> None:
    from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context  # noqa: PLC0415

    kind = SpanKind[part.kind.upper()]
    span = tracer.start_span(part.name, context, kind, dict(part.attributes), start_time=part.began)
    if part.error is not None:
        span.set_attribute("error.type", part.error)
        span.set_status(StatusCode.ERROR)
    inner = set_span_in_context(span, context)
    for one in part.parts:
        _tell(tracer, one, inner)
    span.end(part.ended)


def _tracer() -> "Tracer | None":
    """The tracer of this process, if anybody has set one up."""
    if "opentelemetry.sdk.trace" not in sys.modules:
        return None
    from opentelemetry.trace import get_tracer  # noqa: PLC0415

    return get_tracer(SCOPE)


def _context(traceparent: str | None) -> Any:
    from opentelemetry.context import Context  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    known = traceparent_in(traceparent)
    return TraceContextTextMapPropagator().extract({"traceparent": known} if known else {}, Context())
