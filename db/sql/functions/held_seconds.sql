-- For how long workers have held a job altogether, if the claim at hand ends at `until`; a job that waits has none. Times
-- have microseconds, and the sum has them exactly however many claims it is made of: it is added up as numeric, since a
-- sum of float8 would drift, and a job could be held a moment more than max_held_seconds.
-- Locks: none. Raises: nothing.
create or replace function loradex.held_seconds(job loradex.jobs, until timestamptz) returns float8
language sql immutable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select (round(job.held_seconds::numeric, 6)
            + coalesce(greatest(extract(epoch from until - job.started_at), 0), 0))::float8
$$;
comment on function loradex.held_seconds(loradex.jobs, timestamptz) is
    'For how long workers have held a job altogether; internal.';
revoke execute on function loradex.held_seconds(loradex.jobs, timestamptz) from public;
