-- How many jobs of a call would be new: not those whose idempotency key their owner has used before. A key that comes
-- twice in the call counts twice.
-- Locks: none. Raises: nothing; check_jobs has read the document before.
create or replace function loradex.fresh_jobs(jobs json, owner bigint) returns int
language sql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select count(*)::int
    from json_array_elements(fresh_jobs.jobs) e(job)
    where not exists (
        select from loradex.jobs old
        where old.owner_id = fresh_jobs.owner and old.idempotency_key = e.job ->> 'idempotency_key')
$$;
comment on function loradex.fresh_jobs(json, bigint) is
    'How many jobs of a call have no idempotency key that their owner used before; internal.';
revoke execute on function loradex.fresh_jobs(json, bigint) from public;
