"""`/answers`: the table of answers, what they have in common, and the same as CSV, JSON and SQL."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, LiteralString

from psycopg.sql import SQL, Composed, Literal
from starlette.responses import Response

from loradex.service.explorer.filters import ANY, PERIODS, Edges, Filter, out_of_domain, where
from loradex.service.explorer.look import Look

PATH = "/answers"
ROWS = 50
ROWS_OF_A_FILE = 1_000
COUNTED = 2_000
"""Newest answers of a filter that facets are counted over, so that a table of millions opens at once."""

SHOWN = 12
"""Values of one facet, commonest first."""

ANSWERS: LiteralString = """\
select answer_id, created_at, left(prompt, 1000) as prompt, left(answer, 1000) as answer, top_task, top_probability,
       nearest_similarity, {out} as out_of_domain, adapters, weights, method, base_model, finish_reason,
       total_milliseconds, owner
from loradex.answer_provenance
{where}order by answer_id desc
limit {limit};
"""
FAILURES: LiteralString = """\
select id as job_id, created_at, finished_at, left(prompt, 1000) as prompt, state, error_code,
       left(error_message, 1000) as error_message, method, base_model, owner
from loradex.jobs
{where}order by id desc
limit {limit};
"""
FACETS: LiteralString = """\
with newest as materialized (
    select top_task, adapters, method, base_model, finish_reason, {out} as out_of_domain
    from loradex.answer_provenance
    {where}order by answer_id desc
    limit {limit}
)
select 'task' as facet, top_task as value, count(*) as answers from newest where top_task is not null group by top_task
union all
select 'adapter', a, count(*) from newest cross join unnest(adapters) a group by a
union all
select 'method', method, count(*) from newest group by method
union all
select 'model', base_model, count(*) from newest group by base_model
union all
select 'finish', finish_reason, count(*) from newest group by finish_reason
union all
select 'domain', case when out_of_domain then 'out' else 'in' end, count(*) from newest group by out_of_domain
order by facet, answers desc, value;
"""
TITLES = {
    "task": "Likeliest task",
    "adapter": "Adapter",
    "method": "Method",
    "domain": "Domain",
    "finish": "It ended by",
    "model": "Base model",
}
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
    found = await look.source.rows(statement)
    counts = await look.source.rows(_facets(chosen, edges))
    return look.page(
        "answers.html",
        {
            "chosen": chosen,
            "periods": PERIODS,
            "rows": found,
            "facets": _by_facet(counts),
            "titles": TITLES,
            "words": WORDS,
            "counted": COUNTED,
            "sql": statement.as_string(),
            "more": _more(chosen, found, "answer_id", ROWS),
        },
    )


async def as_json(look: Look) -> Response:
    """Up to a thousand rows as JSON, with the address of the next."""
    chosen, found, _ = await _rows(look, ROWS_OF_A_FILE)
    name = _id(chosen)
    last = str(found[-1][name]) if len(found) == ROWS_OF_A_FILE else None
    onward = None if last is None else chosen.address(f"{PATH}.json", after=last)
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
    found = await look.source.rows(statement)
    return look.page(
        "failures.html",
        {
            "chosen": chosen,
            "periods": PERIODS,
            "rows": found,
            "any": ANY,
            "sql": statement.as_string(),
            "more": _more(chosen, found, "job_id", ROWS),
        },
    )


async def _rows(look: Look, limit: int) -> tuple[Filter, list[dict[str, Any]], Sequence[str]]:
    chosen = Filter.of(look.http.query_params.multi_items())
    found = await look.source.rows(await _statement(look, chosen, limit))
    return chosen, found, tuple(found[0]) if found else (_id(chosen),)


async def _statement(look: Look, chosen: Filter, limit: int) -> Composed:
    return failures_of(chosen, limit) if chosen.error else answers_of(chosen, await look.edges(), limit)


def answers_of(chosen: Filter, edges: Edges, limit: int) -> Composed:
    """The statement for the answers of a filter, newest first."""
    return SQL(ANSWERS).format(
        out=out_of_domain(edges), where=where(chosen.conditions(edges)), limit=Literal(limit)
    )


def failures_of(chosen: Filter, limit: int) -> Composed:
    """The statement for questions that ended without an answer, newest first."""
    return SQL(FAILURES).format(where=where(chosen.conditions_of_failures()), limit=Literal(limit))


def _facets(chosen: Filter, edges: Edges) -> Composed:
    """The statement for what the answers of a filter have in common, the same on each page of its table."""
    everywhere = replace(chosen, after=None)
    return SQL(FACETS).format(
        out=out_of_domain(edges), where=where(everywhere.conditions(edges)), limit=Literal(COUNTED)
    )


def _by_facet(counts: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[str, int, float]]]:
    """Facet → value, answers, and their share of the commonest."""
    found: dict[str, list[tuple[str, int, float]]] = {name: [] for name in TITLES}
    for row in counts:
        values = found[row["facet"]]
        most = values[0][1] if values else row["answers"]
        if len(values) < SHOWN:
            values.append((row["value"], row["answers"], row["answers"] / most))
    return found


def _more(chosen: Filter, found: Sequence[Mapping[str, Any]], name: str, limit: int) -> str | None:
    """The address of the next page; None where this is the last."""
    return chosen.address(PATH, after=str(found[-1][name])) if len(found) == limit else None


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
