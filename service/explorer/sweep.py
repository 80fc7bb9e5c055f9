"""`/what-if`: all answers of a time routed again with other settings, and which of them would have changed."""

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
    select *, count(*) over () as answers, avg(total_variation) over () as mean_change,
           count(*) filter (where total_variation > {changed}) over () as changed
    from loradex.reroute_all(
        k => {k}, top_p => {top_p}, temperature => {temperature}, since => now() - {since}::interval)
)
select r.answer_id, left(a.prompt, 300) as prompt, r.created_at, r.total_variation, r.tasks_in, r.tasks_out, r.answers,
       r.mean_change, r.changed
from again r join loradex.answers a on a.id = r.answer_id
order by r.total_variation desc, r.answer_id desc
limit {limit};
"""


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
    found = await look.source.rows(statement) if asked else []
    return look.page(
        "sweep.html",
        {
            "wish": wish,
            "since": since,
            "periods": PERIODS,
            "asked": asked,
            "rows": found,
            "changed": CHANGED,
            "sql": statement.as_string(),
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
