-- How sure each affinity is: its rows, the 95 % interval of its score, and how much of its vote counts.
-- Rights: those of whoever asks.
create or replace view loradex.affinity_intervals with (security_invoker = true) as
select
    f.task,
    a.name as adapter,
    a.version,
    a.base_model,
    a.state,
    f.score,
    f.n,
    -- Wilson's interval. A score is a mean of numbers from 0 to 1, which vary no more than zeros and ones of that mean.
    (f.score + w.z * w.z / (2 * f.n) - w.margin) / w.whole as low,
    (f.score + w.z * w.z / (2 * f.n) + w.margin) / w.whole as high,
    f.n / (f.n + s.value::float8) as counts,
    f.measured_at
from loradex.task_affinities f
join loradex.adapters a on a.id = f.adapter_id
join loradex.settings s on s.name = 'affinity_rows'
cross join lateral (
    select z.z, 1 + z.z * z.z / f.n as whole,
           z.z * sqrt(f.score * (1 - f.score) / f.n + z.z * z.z / (4.0 * f.n * f.n)) as margin
    from (values (1.959964::float8)) z(z)
) w;
comment on view loradex.affinity_intervals is
    'Every affinity with its rows, the 95 % interval of its score, and the part of its vote that counts.';
comment on column loradex.affinity_intervals.task is 'whose rows were asked';
comment on column loradex.affinity_intervals.adapter is 'the adapter that answered';
comment on column loradex.affinity_intervals.version is 'its version';
comment on column loradex.affinity_intervals.base_model is 'the model it belongs to';
comment on column loradex.affinity_intervals.state is 'active, staged or retired';
comment on column loradex.affinity_intervals.score is 'how well, from 0 to 1';
comment on column loradex.affinity_intervals.n is 'rows asked';
comment on column loradex.affinity_intervals.low is 'lower end of the 95 % interval';
comment on column loradex.affinity_intervals.high is 'upper end of the 95 % interval';
comment on column loradex.affinity_intervals.counts is 'n / (n + affinity_rows): how much of its vote counts';
comment on column loradex.affinity_intervals.measured_at is 'when';
revoke all on loradex.affinity_intervals from public;
grant select on loradex.affinity_intervals to loradex_reader, loradex_worker, loradex_admin;
