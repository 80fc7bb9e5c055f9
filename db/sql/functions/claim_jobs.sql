-- Hands up to max_jobs waiting jobs to a worker: running, under a lease, with the next attempt number. A running job
-- whose lease is over is waiting too. Jobs that were lost max_attempts times become failed on the way.
-- Locks: the claimed rows of jobs, FOR UPDATE SKIP LOCKED: workers never wait for each other. Raises: LX001.
create or replace function loradex.claim_jobs(
    worker text,
    max_jobs int,
    lease interval,
    max_attempts int,
    now timestamptz default now(),
    only_base_model text default null,
    only_encoder text default null
) returns setof loradex.jobs
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    lost uuid;
    committing text;
begin
    if coalesce(worker, '') = '' or length(worker) > 200 or coalesce(max_jobs, 0) not between 1 and 10000
       or coalesce(max_attempts, 0) < 1 then
        raise exception using errcode = 'LX001', message =
            'claim_jobs needs a worker name of at most 200 characters, max_jobs from 1 to 10000, and max_attempts of 1 '
            'or more';
    end if;

    perform check_lease(lease, claim_jobs.now);

    -- Losing a claim in a crash only leaves the job waiting, and whatever is written for it later is committed after it.
    committing := set_config('synchronous_commit', 'off', true);

    if not exists (select from jobs j where j.state = 'running' and j.lease_until <= claim_jobs.now) then
        return query
        update jobs j
        set state = 'running', attempt = j.attempt + 1, worker = claim_jobs.worker,
            lease_until = claim_jobs.now + lease, started_at = claim_jobs.now
        where j.id = any (array(
            select q.id from jobs q
            where q.state = 'queued'
              and (only_base_model is null or q.base_model = only_base_model)
              and (only_encoder is null or q.encoder = only_encoder)
            order by q.priority desc, q.queue_position
            limit claim_jobs.max_jobs
            for update skip locked))
        returning j.*;
        return;
    end if;

    for lost in
        update jobs j
        set state = 'failed', lease_until = null, finished_at = claim_jobs.now, error_code = 'too_many_attempts',
            error_message = format(
                'it was lost %s times by its workers, the last of them %s; look at that worker''s log, '
                'then enqueue it again', j.attempt - j.releases, j.worker)
        where j.id in (
            select p.id from jobs p
            where p.state = 'running' and p.lease_until <= claim_jobs.now
              and p.attempt - p.releases >= claim_jobs.max_attempts
            for update skip locked)
        returning j.id
    loop
        delete from routings r where r.job_id = lost;
        perform notify_job(lost);
    end loop;

    return query
    with queued as (
        select q.id, q.priority, q.queue_position from jobs q
        where q.state = 'queued'
          and (only_base_model is null or q.base_model = only_base_model)
          and (only_encoder is null or q.encoder = only_encoder)
        order by q.priority desc, q.queue_position
        limit claim_jobs.max_jobs
        for update skip locked
    ), expired as (
        select x.id, x.priority, x.queue_position from jobs x
        where x.state = 'running' and x.lease_until <= claim_jobs.now
          and x.attempt - x.releases < claim_jobs.max_attempts
          and (only_base_model is null or x.base_model = only_base_model)
          and (only_encoder is null or x.encoder = only_encoder)
        order by x.priority desc, x.queue_position
        limit claim_jobs.max_jobs
        for update skip locked
    ), waiting as (
        select * from queued union all select * from expired
    ), chosen as materialized (
        select w.id from waiting w order by w.priority desc, w.queue_position limit claim_jobs.max_jobs
    )
    update jobs j
    set state = 'running', attempt = j.attempt + 1, worker = claim_jobs.worker,
        lease_until = claim_jobs.now + lease, started_at = claim_jobs.now
    from chosen c
    where j.id = c.id
    returning j.*;
end
$$;
comment on function loradex.claim_jobs(text, int, interval, int, timestamptz, text, text) is
    'Hands waiting jobs to a worker under a lease, with the next attempt number; skips what others hold.';
revoke execute on function loradex.claim_jobs(text, int, interval, int, timestamptz, text, text) from public;
grant execute on function loradex.claim_jobs(text, int, interval, int, timestamptz, text, text) to loradex_worker;
