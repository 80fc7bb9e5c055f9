"""`loradex settings`: what a job may say, with defaults and ranges, limits of the queue, weights of routing."""

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loradex import terminal

if TYPE_CHECKING:
    from collections.abc import Mapping

app = typer.Typer(add_completion=False, help="Defaults and ranges of jobs, and limits of the queue.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

OF = {
    "text": " characters",
    "texts": " texts",
    "strings": " texts",
    "pairs": " pairs",
    "messages": " messages",
    "numbers": " numbers",
}
"""What the range of a setting counts, by its type."""


@app.callback(invoke_without_command=True)
def settings(context: typer.Context, as_json: AsJson = False) -> None:
    """Show every setting of a job with its default and range, then the limits and routing's own; `set` changes one.

    Example: loradex settings
    """
    if context.invoked_subcommand is not None:
        return

    found = _rows("select * from loradex.settings order by kind, name")
    if as_json:
        terminal.as_json(found)
        return
    for kind, title in (("job", "a job's settings"), ("limit", "limits"), ("routing", "routing")):
        rows = [
            (one["name"], _shown(one["value"]), _range(one), one["description"])
            for one in found
            if one["kind"] == kind
        ]
        terminal.table(("name", "default" if kind == "job" else "value", "range", "meaning"), rows, title)


def exactly(text: str) -> Decimal:
    """The number as it was typed: an end of `seed` is more than a float holds."""
    try:
        return Decimal(text)
    except ArithmeticError:
        raise typer.BadParameter(f"{text!r} is not a number") from None


@app.command("set")
def set_value(
    name: Annotated[str, typer.Argument(help="The setting.")],
    value: Annotated[
        str | None, typer.Argument(help="Its new default, or the limit; JSON or plain text.")
    ] = None,
    maximum: Annotated[
        Decimal | None, typer.Option(parser=exactly, metavar="NUMBER", help="The new end of its range.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change the default of a job's setting, or a limit; jobs that wait keep what they were accepted with.

    It needs the role of an administrator.

    Example: loradex settings set k 16
    """
    from psycopg.types.json import Jsonb

    from loradex.errors import InvalidArgumentError

    if value is None and maximum is None:
        raise InvalidArgumentError("give a value, or --maximum")
    given = None if value is None else Jsonb(_parsed(value))
    (changed,) = _rows("select * from loradex.change_setting(%s, %s, %s::numeric)", name, given, maximum)
    if as_json:
        terminal.as_json(changed)
    else:
        terminal.say(f"{name} is {_shown(changed['value'])}, {_range(changed)}")


def _rows(statement: str, *values: object) -> list[dict[str, Any]]:
    from psycopg.rows import dict_row

    from loradex.addresses import database_address
    from loradex.db.session import connect, translate_errors
    from loradex.service.settings import ServiceSettings

    with translate_errors(), connect(database_address(ServiceSettings())) as connection:
        return connection.cursor(row_factory=dict_row).execute(statement.encode(), values).fetchall()


def _parsed(text: str) -> object:
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text


def _shown(value: object) -> str:
    import json

    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _range(setting: "Mapping[str, Any]") -> str:
    if setting["options"] is not None:
        return ", ".join(setting["options"])
    if setting["names"] is not None:
        return f"names of loradex.{setting['names']}"
    of = OF.get(setting["type"], "")
    low, high = setting["minimum"], setting["maximum"]
    start = (
        f"above {setting['above']}"
        if setting["above"] is not None
        else f"from {low}"
        if low is not None
        else ""
    )
    end = f"to {high}" if high is not None else ""
    return " ".join(part for part in (start, end) if part) + (of if start or end else "")
