"""`loradex key`: keys of the API."""

import hashlib
import secrets
from typing import Annotated, Any

import typer

from loradex import terminal

app = typer.Typer(add_completion=False, help="Keys of the API: make, list, revoke.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
BYTES = 32


@app.callback()
def key() -> None:
    """Keys of the API that `loradex serve` serves. They need the role of an administrator.

    Example: loradex key list
    """


@app.command()
def create(
    owner: Annotated[str, typer.Argument(help="Who asks with it: all keys of an owner reach the same jobs.")],
    name: Annotated[str, typer.Option(help="What people call it.")] = "key",
    scope: Annotated[
        list[str] | None, typer.Option(help="What it may: ask (and see its own), or read. May be repeated.")
    ] = None,
    days: Annotated[float | None, typer.Option(help="Days until it expires; without it never.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, once: the database holds its SHA-256 alone.

    An owner of keys is a tenant of the API and no login of Postgres, even where a login has the same name.

    Example: loradex key create alice --name laptop --days 90
    """
    from datetime import UTC, datetime, timedelta

    from loradex.errors import InvalidArgumentError

    try:
        end = None if days is None else datetime.now(UTC) + timedelta(days=days)
    except (OverflowError, ValueError):
        raise InvalidArgumentError(
            "--days is no number of days; leave it out for a key that never expires"
        ) from None
    made = f"lx_{secrets.token_urlsafe(BYTES)}"
    (row,) = _rows(
        "select loradex.create_api_key(%s, %s, %s, %s::text[], %s) as id",
        *(owner, name, hashlib.sha256(made.encode()).digest(), scope or ["ask"], end),
    )
    if as_json:
        terminal.as_json({"id": row["id"], "owner": owner, "key": made})
    else:
        terminal.complain(f"key {row['id']} of {owner}, shown this once:")
        terminal.say(made)


@app.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """List keys with what they may and when they were used last, to the minute; revoked and expired ones too.

    Example: loradex key list
    """
    found = _rows("select * from loradex.list_api_keys()")
    if as_json:
        terminal.as_json(found)
        return
    columns = ("id", "owner", "name", "may", "state", "used last", "expires")
    terminal.table(columns, [_line(one) for one in found])


@app.command()
def revoke(
    key: Annotated[int, typer.Argument(help="Number of the key, as `loradex key list` shows it.")],
) -> None:
    """Refuse a key from now on, for good.

    Example: loradex key revoke 3
    """
    (row,) = _rows("select loradex.revoke_api_key(%s) as fresh", key)
    terminal.say(f"key {key} is refused from now on" if row["fresh"] else f"key {key} was revoked before")


def _line(one: dict[str, Any]) -> tuple[object, ...]:
    used, ends = (
        None if one[name] is None else f"{one[name]:%Y-%m-%d %H:%M}"
        for name in ("last_used_at", "expires_at")
    )
    return (
        one["id"],
        one["owner"],
        one["name"],
        ", ".join(one["scopes"]),
        one["state"],
        used or "never",
        ends or "never",
    )


def _rows(statement: str, *values: object) -> list[dict[str, Any]]:
    from psycopg.rows import dict_row

    from loradex.addresses import database_address
    from loradex.db.session import connect, translate_errors
    from loradex.service.settings import ServiceSettings

    with translate_errors(), connect(database_address(ServiceSettings())) as connection:
        return connection.cursor(row_factory=dict_row).execute(statement.encode(), values).fetchall()
