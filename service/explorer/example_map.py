"""`/map`: examples in two dimensions, questions of the last hours among them, and a table of those that are chosen."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString
from urllib.parse import urlencode

from psycopg.sql import SQL, Composable, Composed, Literal
from starlette.responses import Response

from loradex.service.api.problem import refused
from loradex.service.explorer.filters import PERIODS, out_of_domain, where
from loradex.service.explorer.look import Look
from loradex.service.explorer.regions import MOST_GATHERED, regions_of

PATH = "/map"
MOST_POINTS = 100_000
"""Points that are drawn; of more examples every n-th."""

MOST_QUESTIONS = 100
MOST_LISTED = 100
MOST_CORNERS = 200
LONGEST = 200
WITHIN = "24h"
UNCOVERED = "uncovered"
"""The layer of questions that lie far from any example."""

LAYERS: Mapping[str, tuple[str, LiteralString]] = {
    "duplicates": ("near duplicates", "p.near_duplicate"),
    "mislabelled": ("look like another task's", "p.looks_like is not null"),
    UNCOVERED: ("uncovered regions", "false"),
}
"""What an address calls it → title, condition."""

PROJECTIONS: LiteralString = """
    select encoder, examples, explained, reach, created_at from loradex.projections order by created_at desc, encoder"""
TASKS: LiteralString = """
    select t.name, t.family, c.examples, c.duplicates, c.mislabelled,
           dense_rank() over (order by t.family) - 1 as family_number, row_number() over (order by t.name) - 1 as number
    from (select task, count(*) as examples, count(*) filter (where near_duplicate) as duplicates,
                 count(looks_like) as mislabelled
          from loradex.projected_examples where encoder = %s group by task) c
    join loradex.tasks t on t.name = c.task
    order by t.name"""
QUESTIONS: LiteralString = """\
select p.*, (-(a.query operator(public.<#>) j.first) - j.first_offset) / j.reach as x,
       (-(a.query operator(public.<#>) j.second) - j.second_offset) / j.reach as y,
       array(select round((n.x / j.reach)::numeric, 3) || ',' || round((n.y / j.reach)::numeric, 3)
             from unnest(a.example_ids) e(id)
             join loradex.projected_examples n on n.encoder = j.encoder and n.example_id = e.id) as near
from (
    select answer_id, created_at, left(prompt, 300) as prompt, top_task, nearest_similarity, {out} as out_of_domain
    from loradex.answer_provenance
    where encoder = {encoder} and prompt is not null and answer_id >= loradex.first_id(now() - interval {since})
    order by answer_id desc
    limit {limit}
) p
join loradex.answers a on a.id = p.answer_id
join loradex.projections j on j.encoder = a.encoder
order by p.answer_id desc;
"""
CHOSEN: LiteralString = """\
select p.example_id, p.task, e.source_ref, left(e.prompt, 300) as prompt, p.near_duplicate, p.looks_like,
       count(*) over () as chosen
from loradex.projected_examples p
join loradex.projections j using (encoder)
join loradex.examples e on e.id = p.example_id
{conditions}order by p.example_id
limit {limit};
"""
POINTS: LiteralString = """
    with numbered as materialized (
        select jsonb_object_agg(task, number) as numbers
        from (
            select t.name as task, least(row_number() over (order by t.name) - 1, 4095) as number
            from loradex.tasks t
            where t.name in (select p.task from loradex.projected_examples p where p.encoder = %(encoder)s)
        ) t
    )
    select coalesce(string_agg(substr(int8send(
        (round((1 + p.x / j.reach) * 4095.5)::bigint << 27) | (round((1 + p.y / j.reach) * 4095.5)::bigint << 14)
        | case when p.looks_like is not null then 8192 else 0 end | case when p.near_duplicate then 4096 else 0 end
        | (n.numbers ->> p.task)::bigint), 4), ''), '') as points
    from loradex.projections j
    cross join numbered n
    join loradex.projected_examples p on p.encoder = j.encoder
    where j.encoder = %(encoder)s and p.example_id %% greatest(ceil(j.examples / %(most)s::float8)::bigint, 1) = 0"""
"""Five bytes a point, the most significant first: 13 bits each of x and y, from 0 to 8191, two of layers, 12 of a task.

A page of `MOST_POINTS` shall weigh at most 700 kB."""


@dataclass(frozen=True)
class View:
    """What an address chooses.

    Attributes:
        inside: Corners of a shape on the map, in shares of its reach from -1 to 1: x, y, x, y, ...
    """

    encoder: str | None = None
    since: str = WITHIN
    task: str | None = None
    layer: str | None = None
    inside: tuple[float, ...] = ()

    @classmethod
    def of(cls, told: Sequence[tuple[str, str]]) -> "View":
        """What an address says.

        Raises:
            Problem: It says something else, or says it twice.
        """
        chosen: dict[str, Any] = {}
        for name, value in told:
            if name not in cls.__dataclass_fields__ or name in chosen:
                raise refused("give encoder, since, task, layer and inside once each", ascii(name)[1:-1][:60])
            if name != "inside" and (len(value) > LONGEST or "\0" in value):
                raise refused(f"{name} may have {LONGEST} characters", name)
            if value:
                chosen[name] = _corners(value) if name == "inside" else value
        made = cls(**chosen)
        if made.since not in PERIODS:
            raise refused(f"since is one of {', '.join(PERIODS)}", "since")
        if made.layer is not None and made.layer not in LAYERS:
            raise refused(f"layer is one of {', '.join(LAYERS)}", "layer")
        return made

    @property
    def narrowed(self) -> bool:
        """Whether it chooses some of the examples."""
        return bool(self.inside) or self.task is not None or self.layer not in {None, UNCOVERED}

    def address(self, **changes: str | None) -> str:
        """The page with some of it changed."""
        inside = ",".join(f"{one:g}" for one in self.inside)
        told = {"encoder": self.encoder, "since": self.since, "task": self.task, "layer": self.layer}
        given = {**told, "inside": inside, **changes}
        return f"{PATH}?{urlencode({name: value for name, value in given.items() if value})}"


def _corners(told: str) -> tuple[float, ...]:
    try:
        found = tuple(float(one) for one in told.split(",", 2 * MOST_CORNERS))
    except ValueError:
        found = ()
    if len(found) % 2 or not 6 <= len(found) <= 2 * MOST_CORNERS or not all(map(_near, found)):  # noqa: PLR2004
        raise refused(
            f"inside has 3 to {MOST_CORNERS} corners of a shape, as numbers x,y,x,y,... from -2 to 2",
            "inside",
        )
    return found


def _near(number: float) -> bool:
    return math.isfinite(number) and abs(number) <= 2  # noqa: PLR2004


async def page(look: Look) -> Response:
    """The page."""
    look.require_everything()
    view = View.of(look.http.query_params.multi_items())
    projections = await look.source.rows(PROJECTIONS)
    names = [one["encoder"] for one in projections]
    if view.encoder is not None and view.encoder not in names:
        raise refused(f"no map of the encoder {view.encoder[:60]}: `loradex map build` makes one", "encoder")
    shown = next((one for one in projections if one["encoder"] == view.encoder), None) or next(
        iter(projections), None
    )
    if shown is None:
        return look.page("map.html", {"shown": None, "view": view})
    statement = chosen_of(view, shown["encoder"])
    edges = await look.edges()
    regions = regions_of(PERIODS[view.since], shown["encoder"], edges)
    questions = SQL(QUESTIONS).format(
        out=out_of_domain(edges),
        encoder=Literal(shown["encoder"]),
        since=Literal(PERIODS[view.since]),
        limit=Literal(MOST_QUESTIONS),
    )
    return look.page(
        "map.html",
        {
            "shown": shown,
            "view": view,
            "encoders": names,
            "tasks": await look.source.rows(TASKS, (shown["encoder"],)),
            "questions": await look.source.rows(questions),
            "rows": await look.source.rows(statement) if view.narrowed else [],
            "layers": LAYERS,
            "regions": await look.source.rows(regions) if view.layer == UNCOVERED else None,
            "gathered": MOST_GATHERED,
            "edge": edges.get(shown["encoder"]),
            "periods": PERIODS,
            "drawn": MOST_POINTS,
            "listed": MOST_LISTED,
            "points": f"{PATH}.bin?{urlencode({'encoder': shown['encoder']})}",
            "queries": [
                one.as_string()
                for one in (statement, questions, *([regions] if view.layer == UNCOVERED else []))
            ],
        },
    )


async def points(look: Look) -> Response:
    """The points of a map, as bytes (`POINTS`)."""
    look.require_everything()
    view = View.of(look.http.query_params.multi_items())
    (found,) = await look.source.rows(POINTS, {"encoder": view.encoder, "most": MOST_POINTS})
    return look.bytes(found["points"])


def chosen_of(view: View, encoder: str) -> Composed:
    """The statement for the examples that are chosen, and how many they are."""
    conditions: list[Composable] = [SQL("p.encoder = {}").format(Literal(encoder))]
    if view.task is not None:
        conditions.append(SQL("p.task = {}").format(Literal(view.task)))
    if view.layer is not None:
        conditions.append(SQL(LAYERS[view.layer][1]))
    if view.inside:
        corners = zip(view.inside[::2], view.inside[1::2], strict=True)
        shape = Literal(",".join(f"({x!r},{y!r})" for x, y in corners))
        conditions.append(SQL("point(p.x / j.reach, p.y / j.reach) <@ {}::polygon").format(shape))
    return SQL(CHOSEN).format(conditions=where(conditions), limit=Literal(MOST_LISTED))
