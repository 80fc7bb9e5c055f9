-- Hands up to max_jobs waiting jobs to a worker: running, under a lease, with the next attempt number. Higher priorities
-- go first; within one the owners who wait take turns (jobs.turn), and each owner's jobs go in their order. A running job
-- whose lease is over is waiting too. On the way jobs end that are past their deadline (expired), that were lost
-- max_attempts times, or that workers have held for max_held_seconds altogether (failed). No job is handed out past its
-- deadline, not even one that expire_jobs did not come to: it ends so many at a time. With only_urgent none goes whose
-- priority is not above the default. The claim is this login's and, where a token is given, of whoever knows it: see
-- claim_hash.
-- Locks: the claimed rows of jobs, FOR UPDATE SKIP LOCKED: workers never wait for each other. Raises: LX001.
create or replace function loradex.claim_jobs(
    worker text,
    max_jobs int,
    lease interval,
    max_attempts int,
    now timestamptz default now(),
    only_base_model text default null,
    only_encoder text default null,
    token text default null,
    only_urgent boolean default false
) returns setof loradex.jobs
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    mine bytea := claim_hash(token);
    -- A bound that is always there, so that the index begins behind it.
    above int := case when only_urgent then (select s.value::int from settings s where s.name = 'priority') else -32769 end;
    max_held int := (select s.value from settings s where s.name = 'max_held_seconds');
    lost jobs;
    committing text;
begin
    if coalesce(worker, '') = '' or length(worker) > 200 or coalesce(max_jobs, 0) not between 1 and 10000
       or coalesce(max_attempts, 0) < 1 then
        raise exception using errcode = 'LX001', message =
            'claim_jobs needs a worker name of at most 200 characters, max_jobs from 1 to 10000, and max_attempts of 1 '
            'or more';
    end if;
    perform check_lease(lease, claim_jobs.now);
    if exists (select from workers w where w.name = claim_jobs.worker and w.claim_hash <> mine) then
        raise exception using errcode = 'LX001', message = format(
            'another worker is announced as %s; give each a name of its own', shown(worker));
    end if;

    -- Losing a claim in a crash only leaves the job waiting, and whatever is written for it later is committed after it.
    committing := set_config('synchronous_commit', 'off', true);

    perform expire_jobs(claim_jobs.now);
    if not exists (select from jobs j where j.state = 'running' and j.lease_until <= claim_jobs.now) then
        return query
        update jobs j
        set state = 'running', attempt = j.attempt + 1, worker = claim_jobs.worker, claim_hash = mine,
            started_at = claim_jobs.now,
            lease_until = claim_jobs.now + least(lease, make_interval(secs => max_held - j.held_seconds))
        where j.id = any (array(
            select q.id from jobs q
            where q.state = 'queued' and q.priority > above and (q.expires_at is null or q.expires_at > claim_jobs.now)
              and (only_base_model is null or q.base_model = only_base_model)
              and (only_encoder is null or q.encoder = only_encoder)
            order by q.priority desc, q.turn, q.queue_position
            limit claim_jobs.max_jobs
            for update skip locked))
        returning j.*;
        return;
    end if;

    for lost in
        select p.* from jobs p
        where p.state = 'running' and p.lease_until <= claim_jobs.now
          and (p.expires_at is null or p.expires_at > claim_jobs.now)
          and (p.attempt - p.releases >= claim_jobs.max_attempts or held_seconds(p, p.lease_until) >= max_held)
        for update skip locked
    loop
        perform give_up_job(
            lost,
            case when lost.attempt - lost.releases >= claim_jobs.max_attempts then 'too_many_attempts'
                 else 'held_too_long' end,
            lost.worker, held_seconds(lost, lost.lease_until), claim_jobs.now);
    end loop;

    return query
    with queued as (
        select q.id, q.priority, q.turn, q.queue_position from jobs q
        where q.state = 'queued' and q.priority > above and (q.expires_at is null or q.expires_at > claim_jobs.now)
          and (only_base_model is null or q.base_model = only_base_model)
          and (only_encoder is null or q.encoder = only_encoder)
        order by q.priority desc, q.turn, q.queue_position
        limit claim_jobs.max_jobs
        for update skip locked
    ), expired as (
        select x.id, x.priority, x.turn, x.queue_position from jobs x
        where x.state = 'running' and x.lease_until <= claim_jobs.now and x.priority > above
          and (x.expires_at is null or x.expires_at > claim_jobs.now)
          and x.attempt - x.releases < claim_jobs.max_attempts
          and held_seconds(x, x.lease_until) < max_held
          and (only_base_model is null or x.base_model = only_base_model)
          and (only_encoder is null or x.encoder = only_encoder)
        order by x.priority desc, x.turn, x.queue_position
        limit claim_jobs.max_jobs
        for update skip locked
    ), waiting as (
        select * from queued union all select * from expired
    ), chosen as materialized (
        select w.id from waiting w order by w.priority desc, w.turn, w.queue_position limit claim_jobs.max_jobs
    )
    update jobs j
    set state = 'running', attempt = j.attempt + 1, worker = claim_jobs.worker, claim_hash = mine,
        started_at = claim_jobs.now, held_seconds = held_seconds(j, j.lease_until),
        lease_until = claim_jobs.now
            + least(lease, make_interval(secs => max_held - held_seconds(j, j.lease_until)))
    from chosen c
    where j.id = c.id
    returning j.*;
end
$$;
comment on function loradex.claim_jobs(text, int, interval, int, timestamptz, text, text, text, boolean) is
    'Hands waiting jobs to a worker under a lease, with the next attempt number; skips what others hold.';
revoke execute on function loradex.claim_jobs(text, int, interval, int, timestamptz, text, text, text, boolean) from public;
grant execute on function loradex.claim_jobs(text, int, interval, int, timestamptz, text, text, text, boolean) to loradex_worker;
