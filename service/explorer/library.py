"""`/adapters`: adapters and tasks, how much weight each adapter carries, and what it was measured to be worth."""

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

from starlette.responses import Response

from loradex.service.explorer.look import Look

MOST = 500
MOST_OF_A_MAP = 60
"""Tasks and adapters of the heat map; with more, nothing on it could be read."""

SHADES = 10
ADAPTERS: LiteralString = """
    with used as materialized (
        select c.adapter, c.version, (a.created_at at time zone 'UTC')::date as day, count(*) as answers,
               sum(c.weight) as weight
        from loradex.answers a
        cross join lateral unnest(a.adapters, a.adapter_versions, a.weights) c(adapter, version, weight)
        where a.id >= loradex.first_id(now() - interval '7 days')
        group by c.adapter, c.version, day
    ), shared as materialized (
        select u.adapter, u.version, u.day, u.answers, u.weight,
               u.weight / sum(u.weight) over (partition by u.day) as share
        from used u
    )
    select d.name, d.version, d.task, d.base_model, d.state, d.share as draws, d.rank, d.update_norm,
           left(d.sha256::text, 12) as sha256, coalesce(u.answers, 0)::bigint as answers,
           coalesce(u.weight / nullif((select sum(weight) from used), 0), 0) as share, count(*) over () as known,
           array(select coalesce(s.share, 0)
                 from generate_series((now() at time zone 'UTC')::date - 6, (now() at time zone 'UTC')::date,
                                      interval '1 day') g(day)
                 left join shared s on s.day = g.day::date and s.adapter = d.name and s.version = d.version
                 order by g.day) as days
    from loradex.adapters d
    left join (select adapter, version, sum(answers) as answers, sum(weight) as weight from used group by 1, 2) u
        on u.adapter = d.name and u.version = d.version
    order by share desc, d.state, d.name, d.version desc
    limit %s"""
TASKS: LiteralString = """
    select t.name, t.family, t.metric, coalesce(e.examples, 0) as examples, count(*) over () as known,
           (select count(*) from loradex.adapters a where a.task = t.name and a.state = 'active') as adapters
    from loradex.tasks t
    left join (select task, count(*) as examples from loradex.examples group by task) e on e.task = t.name
    order by t.name
    limit %s"""
AFFINITIES: LiteralString = """
    select *
    from (
        select f.task, a.name as adapter, f.score, a.task = f.task as own,
               dense_rank() over (order by f.task) as row, dense_rank() over (order by a.name) as place
        from loradex.task_affinities f
        join loradex.adapters a on a.id = f.adapter_id and a.state = 'active'
    ) measured
    where row <= %(most)s and place <= %(most)s
    order by task, adapter"""


async def page(look: Look) -> Response:
    """The page."""
    look.require_everything()
    affinities = await look.source.rows(AFFINITIES, {"most": MOST_OF_A_MAP})
    return look.page(
        "adapters.html",
        {
            "adapters": await look.source.rows(ADAPTERS, (MOST,)),
            "tasks": await look.source.rows(TASKS, (MOST,)),
            "map": heat_map(affinities),
            "most": MOST_OF_A_MAP,
            "listed": MOST,
        },
    )


def heat_map(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The measured scores: names of the adapters, and for each task its cells with a shade from 0 to 9."""
    adapters = sorted({row["adapter"] for row in rows})
    tasks: dict[str, dict[str, Any]] = {}
    for row in rows:
        cell = {**row, "shade": min(int(row["score"] * SHADES), SHADES - 1)}
        tasks.setdefault(row["task"], {})[row["adapter"]] = cell
    return {
        "adapters": adapters,
        "rows": [(task, [cells.get(adapter) for adapter in adapters]) for task, cells in tasks.items()],
    }
