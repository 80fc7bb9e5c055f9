-- What a monitor shows of the queue, the workers and the chain: numbers of all tenants together and nothing of anybody, so
-- that the login of the API, which sees no rows without a key, can be asked. Reads every waiting job, and what ended
-- without an answer in the last 10 minutes (ended_jobs: by state and code, of which 20 are told and the rest is `other`).
-- Keep it a few seconds.
-- Locks: none. Raises: nothing.
create or replace function loradex.monitor_figures() returns table (figure text, label text, value float8)
language sql stable security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    with queued as materialized (
        select sign(j.priority) as sign, j.api_key_id is not null as keyed, j.base_model, j.encoder, count(*) as jobs,
            min(j.created_at) as oldest
        from jobs j where j.state = 'queued' group by 1, 2, 3, 4
    ), running as materialized (
        select j.base_model, count(*) as jobs, count(*) filter (where j.lease_until <= now()) as expired
        from jobs j where j.state = 'running' group by 1
    ), own (state, code) as (
        -- What Postgres ends by itself: no worker counts these.
        values ('failed', 'too_many_attempts'), ('failed', 'held_too_long'), ('expired', 'job_expired')
    ), ended as (
        select j.state, j.error_code as code, count(*) as jobs
        from jobs j
        where j.state in ('failed', 'cancelled', 'expired') and j.finished_at > now() - interval '10 minutes'
        group by 1, 2
    ), told as (
        select e.state, case when e.place <= 20 then e.code else 'other' end as code, e.jobs
        from (
            select x.*, row_number() over (order by (x.state, x.code) in (select o.state, o.code from own o) desc,
                                           x.jobs desc, x.code, x.state) as place
            from ended x
        ) e
        union all
        select o.state, o.code, 0 from own o
    ), waiting as (
        select c.label, coalesce(sum(q.jobs), 0) as jobs, min(q.oldest) as oldest
        from (values ('low', -1), ('normal', 0), ('high', 1)) c(label, sign)
        left join queued q on q.sign = c.sign
        group by c.label order by c.label
    ), verified as (
        select max(v.verified_at) as at, max(v.position) as position from verifications v
    )
    select 'waiting_jobs', w.label, w.jobs::float8 from waiting w
    union all
    select 'oldest_waiting_seconds', w.label, coalesce(extract(epoch from now() - w.oldest), 0)::float8 from waiting w
    union all
    select 'waiting_jobs_of', c.label, coalesce(sum(q.jobs), 0)::float8
    from (values ('key', true), ('login', false)) c(label, keyed) left join queued q on q.keyed = c.keyed
    group by c.label
    union all
    select 'open_jobs', b.name, coalesce(sum(o.jobs), 0)::float8
    from base_models b
    left join (
        select q.base_model, q.jobs from queued q union all select r.base_model, r.jobs from running r
    ) o on o.base_model = b.name
    group by b.name
    union all
    select 'running_jobs', '', coalesce(sum(r.jobs), 0)::float8 from running r
    union all
    select 'expired_leases', '', coalesce(sum(r.expired), 0)::float8 from running r
    union all
    select 'unserved_jobs', '', coalesce(sum(q.jobs), 0)::float8
    from (select q.base_model, q.encoder, sum(q.jobs) as jobs from queued q group by 1, 2) q
    where not is_served(q.base_model, q.encoder)
    union all
    select 'ended_jobs', t.state || ' ' || t.code, sum(t.jobs)::float8 from told t group by t.state, t.code
    union all
    select 'max_waiting_jobs', '', s.value::float8 from settings s where s.name = 'max_waiting_jobs'
    union all
    select 'living_workers', b.name, count(l.name)::float8
    from base_models b left join living_workers() l on l.base_model = b.name group by b.name
    union all
    select 'chain_position', '', coalesce((select h.position from chain_head() h), 0)::float8
    union all
    select 'chain_verified_seconds', '', extract(epoch from now() - v.at)::float8 from verified v where v.at is not null
    union all
    select 'chain_verified_position', '', v.position::float8 from verified v where v.at is not null
$$;
comment on function loradex.monitor_figures() is
    'Numbers about the queue, the workers and the chain, of all tenants together, for monitors.';
revoke execute on function loradex.monitor_figures() from public;
grant execute on function loradex.monitor_figures() to loradex_reader, loradex_client, loradex_worker, loradex_admin;
