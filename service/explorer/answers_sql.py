"""The statements of the table of answers. Each reads a bounded number of rows, however many answers there are."""

from dataclasses import replace
from typing import LiteralString

from psycopg.sql import SQL, Composed, Literal

from loradex.service.explorer.filters import Edges, Filter, out_of_domain, where

LOOKED = 10_000
"""Newest answers of a time, or questions without one, that a filter looks through at once."""

COUNTED = 1_000
"""Newest answers of a filter that facets are counted over."""

BARS = 24
COLUMNS: LiteralString = """\
select answer_id, created_at, left(prompt, 1000) as prompt, left(answer, 1000) as answer, top_task, top_probability,
       nearest_similarity, {out} as out_of_domain, adapters, weights, method, base_model, finish_reason,
       total_milliseconds, owner
from loradex.answer_provenance
"""
ALL: LiteralString = """\
{times}order by answer_id desc
limit {limit};
"""
FILTERED: LiteralString = """\
where answer_id in (
    select answer_id
    from (select * from loradex.answer_provenance
          {times}order by answer_id desc limit {looked}) looked
    {conditions}order by answer_id desc
    limit {limit})
order by answer_id desc;
"""
# Whole rows are wide, so that those which are shown are fetched last.
LAST: LiteralString = """\
select id::text as answer_id from loradex.answers
{times}order by id desc
offset {looked} - 1 limit 1;
"""
# By the index of those that ended without an answer, which is by when they did.
FAILURES: LiteralString = """\
select id as job_id, created_at, finished_at, case when erased_at is null then left(prompt, 1000) end as prompt, state,
       error_code, left(error_message, 1000) as error_message, method, base_model, owner
from (select * from loradex.jobs
      {times}order by finished_at desc, id desc limit {looked}) looked
{conditions}order by finished_at desc, id desc
limit {limit};
"""
LAST_FAILURE: LiteralString = """\
select id::text as job_id from loradex.jobs
{times}order by finished_at desc, id desc
offset {looked} - 1 limit 1;
"""
# One statement for both, so that answers are looked through once.
SUMMARY: LiteralString = """\
with found as materialized (
    select answer_id, uuid_extract_timestamp(answer_id) as moment
    from (select * from loradex.answer_provenance
          {times}order by answer_id desc limit {looked}) looked
    {conditions}
), newest as materialized (
    select top_task, adapters, method, base_model, finish_reason, owner, {out} as out_of_domain
    from loradex.answer_provenance
    where answer_id in (select answer_id from found order by answer_id desc limit {counted})
), facets as (
    select 'task' as facet, top_task as value, count(*) as answers from newest
    where top_task is not null group by top_task
    union all
    select 'adapter', a, count(*) from newest cross join unnest(adapters) a group by a
    union all
    select 'method', method, count(*) from newest group by method
    union all
    select 'model', base_model, count(*) from newest group by base_model
    union all
    select 'finish', finish_reason, count(*) from newest group by finish_reason
    union all
    select 'tenant', owner, count(*) from newest group by owner
    union all
    select 'domain', case when out_of_domain then 'out' else 'in' end, count(*) from newest
    where out_of_domain is not null group by out_of_domain
), ends as (
    select min(moment) as first, greatest(max(moment) - min(moment), interval '1 second') as whole from found
), counted as (
    select least(floor({bars} * date_part('epoch', f.moment - e.first) / date_part('epoch', e.whole)), {bars} - 1)
               as bar,
           count(*) as answers
    from found f cross join ends e
    group by 1
)
select facet, value, answers, null::timestamptz as since, null::timestamptz as until from facets
union all
select 'time', null, coalesce(c.answers, 0), e.first + bar * e.whole / {bars}, e.first + (bar + 1) * e.whole / {bars}
from ends e cross join generate_series(0, {bars} - 1) bar left join counted c using (bar)
where e.first is not null
order by facet, since, answers desc, value;
"""


def answers_of(chosen: Filter, edges: Edges, limit: int) -> Composed:
    """The statement for the answers of a filter, newest first."""
    conditions = chosen.conditions(edges)
    return SQL(COLUMNS + (FILTERED if conditions else ALL)).format(
        out=out_of_domain(edges),
        times=where(chosen.times("answer_id")),
        conditions=where(conditions),
        looked=Literal(LOOKED),
        limit=Literal(limit),
    )


def last_of(chosen: Filter) -> Composed:
    """The statement for the last answer that a filter looks at; no row where it looks at all of the time."""
    return SQL(LAST).format(times=where(chosen.times("id")), looked=Literal(LOOKED))


def failures_of(chosen: Filter, limit: int) -> Composed:
    """The statement for questions that ended without an answer, those that ended last first."""
    return SQL(FAILURES).format(
        times=where(chosen.times_of_failures()),
        conditions=where(chosen.conditions_of_failures()),
        looked=Literal(LOOKED),
        limit=Literal(limit),
    )


def last_failure_of(chosen: Filter) -> Composed:
    """The statement for the last such question that a filter looks at; no row where it looks at all of the time."""
    return SQL(LAST_FAILURE).format(times=where(chosen.times_of_failures()), looked=Literal(LOOKED))


def summary_of(chosen: Filter, edges: Edges) -> Composed:
    """The statement for what the answers of a filter have in common, the same on each page of its table.

    A row is a value of a facet and how many of the newest `COUNTED` have it; or, with facet `time`, how many of all
    were recorded from `since` to `until`.
    """
    everywhere = replace(chosen, after=None)
    return SQL(SUMMARY).format(
        out=out_of_domain(edges),
        times=where(everywhere.times("answer_id")),
        conditions=where(everywhere.conditions(edges)),
        looked=Literal(LOOKED),
        counted=Literal(COUNTED),
        bars=Literal(BARS),
    )
