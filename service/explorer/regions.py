"""Regions that the library does not cover: questions far from any example, put together where they lie together."""

from typing import LiteralString

from psycopg.sql import SQL, Composed, Literal

from loradex.service.explorer.answers_sql import LOOKED
from loradex.service.explorer.filters import Edges, out_of_domain

MOST_GATHERED = 300
"""Newest questions out of the domain that are put together; each is compared with each."""

MOST = 100
REGIONS: LiteralString = """\
with uncovered as materialized (
    select p.answer_id, left(p.prompt, 300) as prompt, p.nearest_similarity, a.query,
           (-(a.query operator(public.<#>) j.first) - j.first_offset) / j.reach as x,
           (-(a.query operator(public.<#>) j.second) - j.second_offset) / j.reach as y
    from (select answer_id, prompt, nearest_similarity
          from (select * from loradex.answer_provenance
                where answer_id >= loradex.first_id(now() - interval {since})
                order by answer_id desc limit {looked}) looked
          where encoder = {encoder} and prompt is not null and {out}
          order by answer_id desc limit {gathered}) p
    join loradex.answers a on a.id = p.answer_id
    join loradex.projections j on j.encoder = a.encoder
), near as materialized (
    select one.answer_id, other.answer_id as other,
           count(*) over (partition by other.answer_id) as company
    from uncovered one
    join uncovered other on 1 - (one.query operator(public.<=>) other.query) >= {together}
), gathered as (
    -- Each question goes to the one beside it that has most company.
    select distinct on (answer_id) answer_id, other as middle from near order by answer_id, company desc, other
)
select g.middle as answer_id, m.prompt, count(*) as questions, max(u.nearest_similarity) as nearest_similarity,
       avg(u.x) as x, avg(u.y) as y, max(sqrt((u.x - m.x) ^ 2 + (u.y - m.y) ^ 2)) as radius
from gathered g
join uncovered u on u.answer_id = g.answer_id
join uncovered m on m.answer_id = g.middle
group by g.middle, m.prompt
order by questions desc, g.middle desc
limit {limit};
"""


def regions_of(since: LiteralString, encoder: str, edges: Edges) -> Composed:
    """The statement for the regions of a time, those of most questions first.

    Two questions are of one region where they are as near as a question must be to an example to be in the domain.
    """
    return SQL(REGIONS).format(
        out=out_of_domain(edges),
        encoder=Literal(encoder),
        since=Literal(since),
        together=Literal(edges.get(encoder)),
        gathered=Literal(MOST_GATHERED),
        looked=Literal(LOOKED),
        limit=Literal(MOST),
    )
