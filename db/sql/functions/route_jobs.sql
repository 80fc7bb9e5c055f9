-- Routes a batch of jobs and keeps what was decided, with the query vectors, until record_answer makes it evidence: a
-- worker reads the mixture and how it is merged, and is never asked what Postgres decided.
-- Of a job that is not this worker's nothing is kept.
-- Its transaction does not wait for the disk: what a crash takes is decided again (LX010). Call it in one of its own.
-- Locks: rows of routings of its own jobs, and those jobs' rows, FOR KEY SHARE. Raises: as decide_routes; LX001 a token that is too short.
create or replace function loradex.route_jobs(job_ids uuid[], queries public.vector[], token text default null)
returns table (job_id uuid, routing jsonb)
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    mine bytea := claim_hash(token);
    committing text := set_config('synchronous_commit', 'off', true);
begin
    return query
    with decided as materialized (
        select d.job_id, d.routing from decide_routes(job_ids, queries) d
    ), kept as (
        insert into routings
        select d.job_id, j.attempt, g.query, d.routing
        from decided d
        join unnest(job_ids, queries) g(id, query) on g.id = d.job_id
        join jobs j on j.id = d.job_id and j.state = 'running' and j.claim_hash = mine
        on conflict (job_id) do update
        set attempt = excluded.attempt, query = excluded.query, routing = excluded.routing
    )
    select d.job_id, d.routing from decided d;
    -- Of a job that ended meanwhile neither: its row was waited for above (whoever ends a job locks it FOR UPDATE).
    delete from routings r using jobs j
    where r.job_id = any (job_ids) and j.id = r.job_id and j.state <> 'running';
end
$$;
comment on function loradex.route_jobs(uuid[], public.vector[], text) is
    'decide_routes for running jobs, kept until record_answer: one JSON document per job.';
revoke execute on function loradex.route_jobs(uuid[], public.vector[], text) from public;
grant execute on function loradex.route_jobs(uuid[], public.vector[], text) to loradex_worker;
