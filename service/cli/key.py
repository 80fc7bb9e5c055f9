"""`loradex key`: keys of the API."""

from typing import Annotated, Any

import typer

from loradex import terminal

app = typer.Typer(add_completion=False, help="Keys of the API: make, list, limit, rotate, revoke.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RequestsAMinute = Annotated[
    int | None,
    typer.Option(min=1, max=1_000_000, help="Requests it may make a minute; without it any number."),
]
Waiting = Annotated[
    int | None,
    typer.Option(min=1, max=100_000_000, help="Its jobs that may wait at once; without it any number."),
]


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
    requests_a_minute: RequestsAMinute = None,
    waiting: Waiting = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, once: the database holds its SHA-256 alone.

    An owner of keys is a tenant of the API and no login of Postgres, even where a login has the same name.

    Example: loradex key create alice --name laptop --days 90
    """
    from datetime import UTC, datetime, timedelta

    from loradex.errors import InvalidArgumentError
    from loradex.service.keys import new_key

    try:
        end = None if days is None else datetime.now(UTC) + timedelta(days=days)
    except (OverflowError, ValueError):
        raise InvalidArgumentError(
            "--days is no number of days; leave it out for a key that never expires"
        ) from None
    made, made_hash = new_key()
    (row,) = _rows(
        "select loradex.create_api_key(%s, %s, %s, %s::text[], %s, %s, %s) as id",
        *(owner, name, made_hash, scope or ["ask"], end, requests_a_minute, waiting),
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
    columns = ("id", "owner", "name", "may", "state", "used last", "expires", "limits")
    terminal.table(columns, [_line(one) for one in found])


@app.command()
def limit(
    key: Annotated[int, typer.Argument(help="Number of the key, as `loradex key list` shows it.")],
    requests_a_minute: RequestsAMinute = None,
    waiting: Waiting = None,
) -> None:
    """Say what a key may do at most; a limit that is left out is taken away.

    Servers of the API follow within a minute, and agree on one count. The queue follows at once.

    Example: loradex key limit 3 --requests-a-minute 60 --waiting 100
    """
    _rows("select loradex.limit_api_key(%s, %s, %s)", key, requests_a_minute, waiting)
    limits = [
        f"{number} {what}"
        for number, what in ((requests_a_minute, "requests a minute"), (waiting, "waiting jobs"))
        if number is not None
    ]
    terminal.say(
        f"key {key} may have {' and '.join(limits)} at most" if limits else f"key {key} has no limits"
    )


@app.command()
def rotate(
    key: Annotated[int, typer.Argument(help="Number of the key, as `loradex key list` shows it.")],
    hours: Annotated[
        float, typer.Option(min=0, max=8760, help="Hours for which the secret of before is good too.")
    ] = 24.0,
    as_json: AsJson = False,
) -> None:
    """Give a key a new secret and print it, once; owner, scopes, limits and end stay.

    The secret of before is good for --hours longer, so that it can be replaced wherever it is used. One that an
    earlier rotation kept is refused from now on.

    Example: loradex key rotate 3 --hours 48
    """
    from datetime import timedelta

    from loradex.service.keys import new_key

    made, made_hash = new_key()
    (row,) = _rows(
        "select loradex.rotate_api_key(%s, %s, %s) as until", key, made_hash, timedelta(hours=hours)
    )
    if as_json:
        terminal.as_json({"id": key, "key": made, "old_until": row["until"]})
    else:
        terminal.complain(
            f"key {key}, shown this once; the one of before is good until {row['until']:%Y-%m-%d %H:%M}:"
        )
        terminal.say(made)


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
    limits = [
        f"{one[name]} {what}"
        for name, what in (("requests_a_minute", "a minute"), ("max_waiting", "waiting"))
        if one[name] is not None
    ]
    return (
        one["id"],
        one["owner"],
        one["name"],
        ", ".join(one["scopes"]),
        one["state"],
        used or "never",
        ends or "never",
        ", ".join(limits) or "none",
    )


def _rows(statement: str, *values: object) -> list[dict[str, Any]]:
    from psycopg.rows import dict_row

    from loradex.addresses import database_address
    from loradex.db.session import connect, translate_errors
    from loradex.service.settings import ServiceSettings

    with translate_errors(), connect(database_address(ServiceSettings())) as connection:
        return connection.cursor(row_factory=dict_row).execute(statement.encode(), values).fetchall()
