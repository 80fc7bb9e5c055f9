-- What was drawn for each answer among adapters that share a task: which of them answered, and why.
-- Rights: those of whoever asks.
create or replace view loradex.adapter_draws with (security_invoker = true) as
select
    a.id as answer_id,
    a.job_id,
    a.created_at,
    d.task,
    d.adapter,
    d.version,
    d.share,
    d.draw,
    d.among
from loradex.answers a
cross join lateral jsonb_to_recordset(a.generation -> 'draws') as d(
    task text, adapter text, version int, share float8, draw float8, among int)
where a.generation ? 'draws';
comment on view loradex.adapter_draws is
    'One row per answer and task that several adapters shared: the one that was drawn, its share and its draw.';
comment on column loradex.adapter_draws.answer_id is 'the answer';
comment on column loradex.adapter_draws.job_id is 'its job, which the draw is made from';
comment on column loradex.adapter_draws.created_at is 'when it was recorded';
comment on column loradex.adapter_draws.task is 'the task that was shared';
comment on column loradex.adapter_draws.adapter is 'the adapter that was drawn';
comment on column loradex.adapter_draws.version is 'its version';
comment on column loradex.adapter_draws.share is 'its share then';
comment on column loradex.adapter_draws.draw is 'adapter_draw of job, content hash and share: the smallest of the task''s';
comment on column loradex.adapter_draws.among is 'adapters of the task that might have answered';
revoke all on loradex.adapter_draws from public;
grant select on loradex.adapter_draws to loradex_reader, loradex_worker, loradex_admin;
