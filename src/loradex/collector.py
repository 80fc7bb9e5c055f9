"""Where the spans of one of our programs go: the OTLP/HTTP collector that OpenTelemetry's own variables name.

A collector that is slow, dead or never there costs spans and nothing else: they wait in a queue that has an end, a
thread of their own sends them, and whoever ends waits for it no longer than `LAST_SECONDS`.
"""

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""Set to true, questions and answers are told too."""

LAST_SECONDS = 2.0
"""How long the end of a program may take to send what was not sent yet."""

LOG = logging.getLogger("loradex.tracing")


@contextmanager
def tracing(service: str) -> Iterator[None]:
    """Spans are made and sent meanwhile, if the environment names a collector. Once in a process.

    What stands in the way is logged, and nothing is traced then: nobody is left without answers for want of spans.

    Args:
        service: What this program is called, unless OTEL_SERVICE_NAME says something else.
    """
    obstacle = _obstacle()
    if obstacle is not None:
        if obstacle:
            LOG.warning("tracing.off: %s", obstacle)
        yield
        return
    from opentelemetry.trace import set_tracer_provider  # noqa: PLC0415

    provider = _provider(service)
    set_tracer_provider(provider)
    try:
        yield
    finally:
        _end(provider)


def tells_content() -> bool:
    """Whether questions and answers stand in spans."""
    return os.environ.get(CONTENT, "").strip().lower() == "true"


def _obstacle() -> str | None:
    """Why nothing is traced: empty if nobody wants it, else a sentence; None: nothing is in the way."""
    said = os.environ.get
    if not any(said(name) for name in ENDPOINTS) or said("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ""
    if said("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return (
            "" if said("OTEL_TRACES_EXPORTER") == "none" else "OTEL_TRACES_EXPORTER is neither otlp nor none"
        )
    protocol = next((value for name in PROTOCOLS if (value := said(name))), "http/protobuf")
    if protocol != "http/protobuf":
        return f"OTEL_EXPORTER_OTLP_PROTOCOL is {ascii(protocol)[:40]}, and only http/protobuf is spoken here"
    try:
        import opentelemetry.exporter.otlp.proto.http  # noqa: PLC0415
        import opentelemetry.sdk.trace  # noqa: F401, PLC0415
    except ImportError:
        return "OpenTelemetry is not installed: pip install 'loradex[otel]', or set OTEL_SDK_DISABLED=true"
    return None


def _provider(service: str) -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import (  # noqa: PLC0415
        BatchSpanProcessor,
        SpanExporter,
        SpanExportResult,
    )

    class Patient(SpanExporter):
        """OpenTelemetry's exporter, which says once that spans are lost, and once that they are taken again."""

        def __init__(self) -> None:
            self._exporter = OTLPSpanExporter()
            self._lost = False

        def export(self, spans: Sequence[Any]) -> SpanExportResult:
            result = self._exporter.export(spans)
            lost = result is not SpanExportResult.SUCCESS
            if lost and not self._lost:
                LOG.warning(
                    "tracing.lost: the collector does not take spans; see OTEL_EXPORTER_OTLP_ENDPOINT"
                )
            elif self._lost and not lost:
                LOG.warning("tracing.taken_again")
            self._lost = lost
            return result

        def shutdown(self) -> None:
            self._exporter.shutdown()  # type: ignore[no-untyped-call]

    # It logs each try that failed, and each span that found no place.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    resource = Resource.create({"service.name": service}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Patient()))
    return provider


def _end(provider: "TracerProvider") -> None:
    """By itself OpenTelemetry waits for half a minute for a collector that does not answer."""
    ending = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
    ending.start()
    ending.join(LAST_SECONDS)
