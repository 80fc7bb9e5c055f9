"""`loradex serve`: the API that OpenAI's clients speak."""

import logging
import sys
from typing import Annotated

import typer

from loradex import terminal

LOG = logging.getLogger("loradex.api")


def serve(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen at; 0 takes a free one.")
    ] = 8322,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Port for Prometheus (LORADEX_API_METRICS_PORT); none by itself."
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Site whose pages may call the API from a browser, such as https://app.example.com "
            "(LORADEX_API_ALLOW_ORIGINS, separated by blanks); none by itself. Give it once for each site."
        ),
    ] = None,
) -> None:
    """Serve chat, completions, decisions and jobs to OpenAI's clients, each with a key of its own.

    Opened in a browser, the address shows the owner of a key what was answered, and why.

    Postgres is where LORADEX_DATABASE_URL says, with a login of the role client; on the embedded stack the server
    makes its login by itself. Keys are made by `loradex key create`. It ends at SIGTERM or Ctrl+C, after what is
    under way has been answered, within 30 s. Metrics are served at LORADEX_METRICS_HOST, by itself 127.0.0.1. What
    it says are lines of JSON on standard error.

    Example: loradex serve --port 8322
    """
    from loradex.errors import LoradexError
    from loradex.logs import FIELDS, told_end
    from loradex.service.api.server import serve as run
    from loradex.service.settings import ServiceSettings

    def said(address: str) -> None:
        LOG.info("server.listening", extra={FIELDS: {"address": f"{address}/v1"}})
        if sys.stdout.isatty():
            terminal.say(f"listening at {address}/v1")

    settings = ServiceSettings()
    try:
        run(
            settings,
            host,
            port,
            said,
            settings.api_metrics_port if metrics_port is None else metrics_port,
            origins=allow_origin or settings.api_allow_origins.split(),
        )
    except LoradexError as error:
        if sys.stderr.isatty():
            raise
        told_end(LOG.name, error.code, str(error))
        raise typer.Exit(error.exit_code) from None
    LOG.info("server.ended")
