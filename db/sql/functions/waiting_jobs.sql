-- Jobs that a bell should have answered by now: queued for longer than older_than, or running past their lease.
-- Locks: none. Raises: nothing.
create or replace function loradex.waiting_jobs(
    older_than interval, max_jobs int default 1000, now timestamptz default now()
) returns setof uuid
language sql stable security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    (select j.id from jobs j
     where j.state = 'queued' and j.created_at <= waiting_jobs.now - older_than
     order by j.priority desc, j.turn, j.queue_position
     limit max_jobs)
    union all
    (select j.id from jobs j
     where j.state = 'running' and j.lease_until <= waiting_jobs.now
     order by j.lease_until
     limit max_jobs)
$$;
comment on function loradex.waiting_jobs(interval, int, timestamptz) is
    'Ids of jobs queued for longer than an interval, or whose lease is over: what the sweep rings for.';
revoke execute on function loradex.waiting_jobs(interval, int, timestamptz) from public;
grant execute on function loradex.waiting_jobs(interval, int, timestamptz)
    to loradex_worker, loradex_admin, loradex_reader;
