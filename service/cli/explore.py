"""`loradex explore`: pages that show what was answered, and why."""

from typing import Annotated

import typer

from loradex import terminal


def explore(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen at; 0 takes a free one.")
    ] = 8323,
) -> None:
    """Show answers and how they came about as pages, on this machine alone. Nothing is changed.

    Postgres is where LORADEX_DATABASE_URL says, with a login of the role reader; on the embedded stack the explorer
    makes its login by itself. Whoever has the address that is printed sees what all have asked. It ends at SIGTERM
    or Ctrl+C. Tenants of `loradex serve` open its address in a browser instead, and show their key.

    Example: loradex explore
    """
    from loradex.service.explorer.server import explore as run
    from loradex.service.settings import ServiceSettings

    run(ServiceSettings(), port, lambda address: terminal.say(f"open {address}"))
