"""`/metrics` of a process, on a port of its own, which only the machine itself reaches unless a setting says else."""

import threading
from types import TracebackType
from typing import Self
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics, start_http_server

from loradex.errors import InvalidArgumentError


class MetricsPort:
    """Serves a registry from threads of its own while it is entered.

    Args:
        host: The address to listen at.
        port: 0 takes a free one.
        registry: What is served; the process's own memory, time and files are added to it.
    """

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        self._host = host
        self._port = port
        self._registry = registry
        self._server: WSGIServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """Where it is while it is entered."""
        if self._server is None:
            return ""
        host, port = self._server.server_address[:2]
        name = host.decode() if isinstance(host, bytes | bytearray) else host
        return f"http://{f'[{name}]' if ':' in name else name}:{port}/metrics"

    def __enter__(self) -> Self:
        """Listen; `InvalidArgumentError` if nobody can there."""
        # Else each counter has a second series that says when it was made.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        try:
            self._server, self._thread = start_http_server(self._port, self._host, self._registry)
        except (OSError, OverflowError) as error:
            raise InvalidArgumentError(
                f"nobody can listen for metrics at {self._host} port {self._port} ({error}); give another port"
            ) from None
        ProcessCollector(registry=self._registry)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
