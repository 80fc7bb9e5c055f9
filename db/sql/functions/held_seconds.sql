-- For how long workers have held a job altogether, if the claim at hand ends at `until`; a job that waits has none.
-- Locks: none. Raises: nothing.
create or replace function loradex.held_seconds(job loradex.jobs, until timestamptz) returns float8
language sql immutable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select job.held_seconds + coalesce(greatest(extract(epoch from until - job.started_at)::float8, 0), 0)
$$;
comment on function loradex.held_seconds(loradex.jobs, timestamptz) is
    'For how long workers have held a job altogether; internal.';
revoke execute on function loradex.held_seconds(loradex.jobs, timestamptz) from public;
