-- One row: how full the queue is, how long jobs wait, what fails.
-- Rights: those of whoever asks.
create or replace view loradex.queue_health with (security_invoker = true) as
select
    (select count(*) from loradex.jobs j where j.state = 'queued') as queued,
    (select count(*) from loradex.jobs j where j.state = 'running') as running,
    (select count(*) from loradex.jobs j where j.state = 'running' and j.lease_until <= now()) as expired_leases,
    (select extract(epoch from now() - min(j.created_at))::float8 from loradex.jobs j where j.state = 'queued')
        as oldest_waiting_seconds,
    (select count(distinct j.worker) from loradex.jobs j where j.state = 'running' and j.lease_until > now())
        as busy_workers,
    hour.done_last_hour,
    hour.failed_last_hour,
    hour.cancelled_last_hour,
    hour.expired_last_hour,
    hour.median_wait_seconds,
    (select s.value::int from loradex.settings s where s.name = 'max_waiting_jobs') as max_waiting_jobs,
    (select count(distinct b.waiting_pid) from loradex.blocked_sessions() b) as blocked_sessions,
    (select format('%s (%s, process %s, %s) holds %s for %s s', b.blocking_login, b.blocking_program, b.blocking_pid,
                   b.blocking_state, b.waits_for, round(b.blocking_seconds))
     from loradex.blocked_sessions() b order by b.waiting_seconds desc nulls last limit 1) as blocked_by,
    (select count(*) from loradex.living_workers()) as living_workers,
    (select coalesce(sum(q.jobs), 0)::bigint
     from (select j.base_model, j.encoder, count(*) as jobs from loradex.jobs j where j.state = 'queued' group by 1, 2) q
     where not loradex.is_served(q.base_model, q.encoder)) as unserved
from (
    select
        count(*) filter (where j.state = 'done') as done_last_hour,
        count(*) filter (where j.state = 'failed') as failed_last_hour,
        count(*) filter (where j.state = 'cancelled') as cancelled_last_hour,
        count(*) filter (where j.state = 'expired') as expired_last_hour,
        (percentile_cont(0.5) within group (order by extract(epoch from j.started_at - j.created_at)))::float8
            as median_wait_seconds
    from loradex.jobs j
    where j.finished_at > now() - interval '1 hour'
) hour;
comment on view loradex.queue_health is
    'One row: waiting, running and lost jobs, waiting times, and what the last hour did.';
comment on column loradex.queue_health.queued is 'jobs that wait';
comment on column loradex.queue_health.running is 'jobs a worker holds';
comment on column loradex.queue_health.expired_leases is 'of these, those whose worker was lost';
comment on column loradex.queue_health.oldest_waiting_seconds is 'age of the oldest waiting job; null if none waits';
comment on column loradex.queue_health.done_last_hour is 'answers of the last hour';
comment on column loradex.queue_health.failed_last_hour is 'failures of the last hour';
comment on column loradex.queue_health.cancelled_last_hour is 'jobs cancelled in the last hour';
comment on column loradex.queue_health.expired_last_hour is 'jobs that ended at their deadline in the last hour';
comment on column loradex.queue_health.busy_workers is 'workers with a live lease';
comment on column loradex.queue_health.median_wait_seconds is 'median time from arrival to claim, of jobs finished in the last hour';
comment on column loradex.queue_health.max_waiting_jobs is 'how many may wait';
comment on column loradex.queue_health.blocked_sessions is 'sessions that wait for a lock';
comment on column loradex.queue_health.blocked_by is 'who holds the lock that is waited for longest; null if none';
comment on column loradex.queue_health.living_workers is 'workers that gave a sign of life lately (worker_health)';
comment on column loradex.queue_health.unserved is
    'waiting jobs whose base model and encoder no living worker has';
revoke all on loradex.queue_health from public;
grant select on loradex.queue_health to loradex_reader, loradex_worker, loradex_admin;
