"""`/adapters/{name}`: what the answers of a time would have been made of without an adapter. Nothing is retired."""

from typing import LiteralString

from psycopg.sql import SQL, Literal
from starlette.responses import Response

from loradex.service.api.problem import refused
from loradex.service.explorer.filters import LONGEST, PERIODS
from loradex.service.explorer.look import Look

SHOWN = 50
WITHIN = "7d"
WITHOUT: LiteralString = """\
with without as materialized (
    select * from loradex.simulate_retire({adapter}, since => now() - {since}::interval)
)
select w.answer_id, w.created_at, w.weight, w.total_variation, left(a.prompt, 300) as prompt,
       array(select m.key || ' ' || round(m.value::numeric, 2)
             from jsonb_each_text(w.mixture) m order by m.value::float8 desc limit 3) as instead,
       count(*) over () as answers, avg(w.weight) over () as mean_weight
from without w join loradex.answers a on a.id = w.answer_id
order by w.weight desc, w.answer_id desc
limit {limit};
"""


async def page(look: Look) -> Response:
    """The page."""
    look.require_everything()
    adapter = look.http.path_params["name"]
    since = look.http.query_params.get("since") or WITHIN
    if since not in PERIODS:
        raise refused(f"since is one of {', '.join(PERIODS)}", "since")
    if len(adapter) > LONGEST or "\0" in adapter:
        raise refused(f"an adapter's name may have {LONGEST} characters", "name")
    statement = SQL(WITHOUT).format(
        adapter=Literal(adapter), since=Literal(PERIODS[since]), limit=Literal(SHOWN)
    )
    return look.page(
        "retirement.html",
        {
            "adapter": adapter,
            "since": since,
            "periods": PERIODS,
            "rows": await look.source.rows(statement),
            "sql": statement.as_string(),
        },
    )
