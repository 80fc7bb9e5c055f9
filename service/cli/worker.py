"""`loradex worker`: the workers that have announced themselves to the database."""

import socket
from typing import Annotated, Any

import typer

from loradex import terminal

app = typer.Typer(add_completion=False, help="The workers that answer jobs, as the database knows them.")


@app.callback()
def worker() -> None:
    """The workers that answer jobs, as the database knows them.

    Example: loradex worker list
    """


@app.command("list")
def list_workers(
    here: Annotated[
        bool,
        typer.Option("--here", help="Only those of this machine; exit code 1 if none of them lives."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List workers with what they answer, and when they were heard of last.

    A worker gives a sign of life every few seconds. One that is silent for longer than the setting
    worker_silence_seconds is gone or frozen; one that ended by itself is not listed.

    Example: loradex worker list
    """
    found = [one for one in _workers() if not here or one["name"].split(":")[0] == socket.gethostname()]
    if as_json:
        terminal.as_json(found)
    else:
        terminal.table(("worker", "state", "answers", "computes in", "jobs", "seen"), list(map(_line, found)))
    if here and not any(one["living"] for one in found):
        raise typer.Exit(1)


def _line(one: dict[str, Any]) -> tuple[object, ...]:
    return (
        one["name"],
        "lives" if one["living"] else "SILENT",
        f"{one['base_model']} with {one['encoder']}",
        f"{one['dtype']} on {one['device']}",
        f"{one['running']} of {one['batch_rows']}",
        f"{one['silent_seconds']:.0f} s ago",
    )


def _workers() -> list[dict[str, Any]]:
    from psycopg.rows import dict_row

    from loradex.addresses import database_address
    from loradex.db.session import connect, translate_errors
    from loradex.service.settings import ServiceSettings

    with translate_errors(), connect(database_address(ServiceSettings())) as connection:
        return (
            connection.cursor(row_factory=dict_row)
            .execute("select * from loradex.worker_health order by living desc, name")
            .fetchall()
        )
