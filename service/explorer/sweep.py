"""`/what-if`: all answers of a time routed again with other settings, and which of them would have changed."""

import asyncio
from typing import LiteralString

from psycopg.sql import SQL, Composed, Literal
from starlette.responses import Response

from loradex.service.api.problem import refused
from loradex.service.explorer.filters import PERIODS
from loradex.service.explorer.look import Look
from loradex.service.explorer.wish import Wish

SHOWN = 50
CHANGED = 0.1
"""Total variation from which on a mixture counts as changed."""

WITHIN = "7d"
SWEPT: LiteralString = """\
with again as materialized (
    select r.*, count(*) over () as answers, avg(r.total_variation) over () as mean_change,
           count(*) filter (where r.total_variation > {changed}) over () as changed, left(a.prompt, 300) as prompt
    from loradex.reroute_all(
        k => {k}, top_p => {top_p}, temperature => {temperature}, since => now() - {since}::interval) r
    join loradex.answers a on a.id = r.answer_id
    join loradex.methods m on m.name = a.method and m.selection in ('nucleus', 'affinity')
)
select answer_id, prompt, created_at, total_variation, tasks_in, tasks_out, answers, mean_change, changed
from again
order by total_variation desc, answer_id desc
limit {limit};
"""
LEFT_OUT: LiteralString = """\
select a.method, count(*) as answers
from loradex.answers a
left join loradex.methods m on m.name = a.method
where a.id >= loradex.first_id(now() - {since}::interval) and a.query is not null
  and coalesce(m.selection, '') not in ('nucleus', 'affinity')
group by a.method
order by answers desc, a.method;
"""
"""Their mixtures do not go by weights of tasks: of the bare model, of the adapter that is named, of one or of all."""


async def page(look: Look) -> Response:
    """The page; without settings it asks for some."""
    look.require_everything()
    wish = Wish.of(look.http.query_params.multi_items())
    if wish.method is not None or wish.exclude_tasks or wish.exclude_adapters:
        raise refused("all answers at once can be tried with another k, top_p and temperature", "method")
    since = wish.since or WITHIN
    if since not in PERIODS:
        raise refused(f"since is one of {', '.join(PERIODS)}", "since")
    asked = any(one is not None for one in (wish.k, wish.top_p, wish.temperature))
    statement = sweep(wish, PERIODS[since])
    others = SQL(LEFT_OUT).format(since=Literal(PERIODS[since]))
    found, left_out = (
        await asyncio.gather(look.source.rows(statement), look.source.rows(others)) if asked else ([], [])
    )
    return look.page(
        "sweep.html",
        {
            "wish": wish,
            "since": since,
            "periods": PERIODS,
            "asked": asked,
            "rows": found,
            "changed": CHANGED,
            "left_out": left_out,
            "queries": [statement.as_string(), others.as_string()],
        },
    )


def sweep(wish: Wish, period: LiteralString) -> Composed:
    """The statement: the answers that would change most, with how many there are."""
    return SQL(SWEPT).format(
        k=Literal(wish.k),
        top_p=Literal(wish.top_p),
        temperature=Literal(wish.temperature),
        since=Literal(period),
        changed=Literal(CHANGED),
        limit=Literal(SHOWN),
    )
