"""`loradex metrics`: figures of the queue, the workers and the chain for Prometheus."""

from typing import Annotated

import typer

from loradex import terminal


def metrics(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen at; 0 takes a free one.")
    ] = 9324,
    once: Annotated[bool, typer.Option("--once", help="Print them once, and serve nothing.")] = False,
) -> None:
    """Serve what Postgres knows of the queue, the workers and the chain at /metrics, until SIGTERM or Ctrl+C.

    `loradex serve --metrics-port` serves the same beside its own metrics, so this is for deployments without the API.
    Any login of Loradex will do: it sees numbers of all tenants together. Postgres is asked every 5 s at most.

    Example: loradex metrics --once
    """
    import signal
    import threading
    from contextlib import closing

    from prometheus_client import CollectorRegistry, generate_latest

    from loradex.addresses import database_address
    from loradex.metrics_port import MetricsPort
    from loradex.service.figures import Figures
    from loradex.service.settings import ServiceSettings

    registry = CollectorRegistry()
    with closing(Figures(database_address(ServiceSettings()))) as figures:
        registry.register(figures)
        if once:
            terminal.say(generate_latest(registry).decode().rstrip())
            return
        ended = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
        with MetricsPort(host, port, registry) as served:
            terminal.say(f"listening at {served.address}")
            ended.wait()
