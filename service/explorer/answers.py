"""`/answers`: the table of answers, what they have in common, and the same as CSV, JSON and SQL."""

import asyncio
import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from psycopg.sql import Composed
from starlette.responses import Response

from loradex.service.explorer.answers_sql import (
    COUNTED,
    LOOKED,
    answers_of,
    failures_of,
    last_failure_of,
    last_of,
    summary_of,
)
from loradex.service.explorer.filters import ANY, PERIODS, Filter
from loradex.service.explorer.look import Look

PATH = "/answers"
ROWS = 50
ROWS_OF_A_FILE = 1_000
SHOWN = 12
"""Values of one facet, commonest first."""

TITLES = {
    "task": "Likeliest task",
    "adapter": "Adapter",
    "method": "Method",
    "domain": "Domain",
    "finish": "It ended by",
    "model": "Base model",
    "tenant": "Asked by",
}
TIME = "time"
"""The facet of the bars."""

WORDS = {"in": "in the domain", "out": "out of the domain", "choice": "a choice", "length": "its length"}
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What makes a spreadsheet calculate a text that begins so; the last four are as wide as a Chinese character."""


async def page(look: Look) -> Response:
    """The page."""
    chosen = Filter.of(look.http.query_params.multi_items())
    if chosen.error is not None:
        return await _failures(look, chosen)
    edges = await look.edges()
    statement = answers_of(chosen, edges, ROWS)
    whole = replace(chosen, after=None)
    found, summary, last, last_of_whole = await asyncio.gather(
        look.source.rows(statement),
        look.source.rows(summary_of(chosen, edges)),
        _last_looked(look, chosen),
        _last_looked(look, whole) if chosen.after else _nothing(),
    )
    times = [row for row in summary if row["facet"] == TIME]
    more = _onward(chosen, found, ROWS, last)
    return look.page(
        "answers.html",
        {
            "chosen": chosen,
            "periods": PERIODS,
            "rows": found,
            "facets": _by_facet(row for row in summary if row["facet"] != TIME),
            "shown": SHOWN,
            "times": times,
            "busiest": max((one["answers"] for one in times), default=0),
            "titles": TITLES,
            "words": WORDS,
            "counted": COUNTED,
            "looked": LOOKED,
            "all_looked_at": last is None,
            "all_counted": (last_of_whole if chosen.after else last) is None,
            "behind": last is not None and more == last,
            "sql": statement.as_string(),
            "more": None if more is None else chosen.address(PATH, after=more),
        },
    )


async def as_json(look: Look) -> Response:
    """Up to a thousand rows as JSON, with the address of the next."""
    chosen, found, _ = await _rows(look, ROWS_OF_A_FILE)
    last = await _last_looked(look, chosen)
    more = _onward(chosen, found, ROWS_OF_A_FILE, last)
    onward = None if more is None else chosen.address(f"{PATH}.json", after=more)
    return look.document({"rows": [_plain(row) for row in found], "next": onward})


async def as_csv(look: Look) -> Response:
    """Up to a thousand rows as CSV; lists with blanks between, and no text that a spreadsheet would calculate."""
    _, found, columns = await _rows(look, ROWS_OF_A_FILE)
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow(columns)
    table.writerows([_cell(row[name]) for name in columns] for row in found)
    return look.text(written.getvalue(), "text/csv; charset=utf-8", "answers.csv")


async def as_sql(look: Look) -> Response:
    """The statement of the page."""
    chosen = Filter.of(look.http.query_params.multi_items())
    return look.text(
        (await _statement(look, chosen, ROWS)).as_string(), "application/sql; charset=utf-8", "answers.sql"
    )


async def _failures(look: Look, chosen: Filter) -> Response:
    statement = failures_of(chosen, ROWS)
    found, last = await asyncio.gather(look.source.rows(statement), _last_looked(look, chosen))
    more = _onward(chosen, found, ROWS, last)
    return look.page(
        "failures.html",
        {
            "chosen": chosen,
            "periods": PERIODS,
            "rows": found,
            "any": ANY,
            "looked": LOOKED,
            "all_looked_at": last is None,
            "behind": last is not None and more == last,
            "sql": statement.as_string(),
            "more": None if more is None else chosen.address(PATH, after=more),
        },
    )


async def _rows(look: Look, limit: int) -> tuple[Filter, list[dict[str, Any]], Sequence[str]]:
    chosen = Filter.of(look.http.query_params.multi_items())
    found = await look.source.rows(await _statement(look, chosen, limit))
    return chosen, found, tuple(found[0]) if found else (_id(chosen),)


async def _statement(look: Look, chosen: Filter, limit: int) -> Composed:
    return failures_of(chosen, limit) if chosen.error else answers_of(chosen, await look.edges(), limit)


def _by_facet(counts: Iterable[Mapping[str, Any]]) -> dict[str, list[tuple[str, int, float]]]:
    """Facet → value, answers, and their share of the commonest."""
    found: dict[str, list[tuple[str, int, float]]] = {name: [] for name in TITLES}
    for row in counts:
        values = found[row["facet"]]
        most = values[0][1] if values else row["answers"]
        values.append((row["value"], row["answers"], row["answers"] / most))
    return found


async def _last_looked(look: Look, chosen: Filter) -> str | None:
    """The row at which a filter stops looking; None where it looks through all, or where there is none."""
    if not (chosen.conditions_of_failures() if chosen.error else chosen.conditions({})):
        return None
    found = await look.source.rows(last_failure_of(chosen) if chosen.error else last_of(chosen))
    return found[0][_id(chosen)] if found else None


async def _nothing() -> None:
    """Nothing to ask for."""


def _onward(chosen: Filter, found: Sequence[Mapping[str, Any]], limit: int, last: str | None) -> str | None:
    """After which row the next page begins; None where this is the last.

    `last` is the row at which the filter stopped looking.
    """
    return str(found[-1][_id(chosen)]) if len(found) == limit else last


def _id(chosen: Filter) -> str:
    return "job_id" if chosen.error else "answer_id"


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value if _is_json(value) else str(value) for name, value in row.items()}


def _is_json(value: object) -> bool:
    return value is None or isinstance(value, (bool, int, float, str, list))


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        value = " ".join(map(str, value))
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value
