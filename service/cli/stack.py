"""`loradex up`, `down` and `status`: the stack on this machine."""

from typing import TYPE_CHECKING, Annotated

import typer

from loradex import terminal
from loradex.service.settings import ServiceSettings

if TYPE_CHECKING:
    from loradex.embedded.health import Health

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def up(
    worker: Annotated[bool, typer.Option(help="Start a worker too.")] = True,
    empty: Annotated[
        bool,
        typer.Option("--empty", help="Do not load the starter library into a database without adapters."),
    ] = False,
    api: Annotated[
        bool | None, typer.Option("--api/--no-api", help="Serve the API too, beside a worker (LORADEX_API).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start Postgres, Valkey, a worker and the API, bring the schema up to date, and wait until each is healthy.

    The starter library, where it is installed, is loaded into an embedded database that has no adapters
    yet. A server that LORADEX_DATABASE_URL or LORADEX_REDIS_URL names is used as it is. Starting twice
    changes nothing; a running worker is replaced when its settings or its program have changed.

    The API listens at 127.0.0.1, port 8322 if that is free; the first key to it is printed once.

    Example: loradex up
    """
    from loradex.addresses import database_address
    from loradex.embedded.stack import Stack
    from loradex.embedded.starter import load_starter
    from loradex.service.keys import first_key

    settings = ServiceSettings()
    stack = Stack(settings)
    with terminal.waiting("starting") as say:

        def fill(url: str) -> str | None:
            return None if empty else load_starter(url, settings, say)

        wanted = worker and (settings.api if api is None else api)
        told = stack.up(worker=worker, patience=settings.start_seconds, say=say, fill=fill, api=wanted)
    for sentence in told:
        terminal.complain(sentence)
    if stack.api.pid is not None and (key := first_key(database_address(settings))) is not None:
        terminal.complain(f"the first key of the API at {stack.api.url}, shown this once: {key}")
    _show(stack.health(worker=worker), as_json=as_json)


def down() -> None:
    """Stop what `up` started; the data stay where they are.

    Example: loradex down
    """
    from loradex.embedded.stack import Stack

    with terminal.waiting("stopping"):
        stopped = Stack(ServiceSettings()).down()
    terminal.say(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")


def status(as_json: AsJson = False) -> None:
    """Name each part, where it is and how it is; exit code 1 when one is not healthy.

    Example: loradex status --json
    """
    from loradex.embedded.stack import Stack

    _show(Stack(ServiceSettings()).health(), as_json=as_json)


def _show(parts: "list[Health]", *, as_json: bool) -> None:
    if as_json:
        terminal.as_json([part._asdict() for part in parts])
    else:
        rows = [
            (part.part, "healthy" if part.healthy else "ILL", part.address, part.note, part.cure)
            for part in parts
        ]
        terminal.table(("part", "state", "address", "what is known", "cure"), rows)
    if not all(part.healthy for part in parts):
        raise typer.Exit(1)
