-- How much each adapter was used, by day (UTC).
-- Rights: those of whoever asks.
create or replace view loradex.adapter_usage with (security_invoker = true) as
select
    (a.created_at at time zone 'UTC')::date as day,
    c.adapter,
    c.version,
    c.task,
    count(*) as answers,
    sum(c.weight) as weight,
    sum(c.weight) / sum(sum(c.weight)) over (partition by (a.created_at at time zone 'UTC')::date) as weight_share,
    avg(c.weight) as mean_weight,
    percentile_cont(0.5) within group (order by (a.timings ->> 'total')::float8) as median_milliseconds,
    percentile_cont(0.99) within group (order by (a.timings ->> 'total')::float8) as p99_milliseconds
from loradex.answers a
cross join lateral unnest(a.adapters, a.adapter_versions, a.adapter_tasks, a.weights) c(adapter, version, task, weight)
group by (a.created_at at time zone 'UTC')::date, c.adapter, c.version, c.task;
comment on view loradex.adapter_usage is
    'Per day and adapter: answers it took part in, its share of all weight, and how long these answers took.';
comment on column loradex.adapter_usage.day is 'day in UTC';
comment on column loradex.adapter_usage.adapter is 'the adapter';
comment on column loradex.adapter_usage.version is 'its version';
comment on column loradex.adapter_usage.task is 'its task';
comment on column loradex.adapter_usage.answers is 'answers it took part in';
comment on column loradex.adapter_usage.weight is 'sum of its weights';
comment on column loradex.adapter_usage.weight_share is 'its part of all weight of the day; sums to 1';
comment on column loradex.adapter_usage.mean_weight is 'mean of its weights';
comment on column loradex.adapter_usage.median_milliseconds is 'median time of these answers';
comment on column loradex.adapter_usage.p99_milliseconds is '99th percentile of their time';
revoke all on loradex.adapter_usage from public;
grant select on loradex.adapter_usage to loradex_reader, loradex_worker, loradex_admin;
