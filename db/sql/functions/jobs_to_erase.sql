-- The jobs of which texts would be erased: those named, those of an owner, those from before a moment, or what several of
-- these have in common; at most at_most of them, any ones, or all. Jobs that were erased are left out, so that erasing can
-- be broken off and gone on with.
-- Locks: none. Raises: LX001 nothing is asked for, or at_most is less than 1.
create or replace function loradex.jobs_to_erase(
    job_ids uuid[] default null, owner_id bigint default null, before timestamptz default null,
    at_most int default null
) returns table (job_id uuid)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    if job_ids is null and owner_id is null and before is null then
        raise exception using errcode = 'LX001', message =
            'say what is to be erased: jobs, an owner, or a moment before which';
    end if;
    if at_most < 1 then
        raise exception using errcode = 'LX001', message = 'at_most is 1 or more; leave it out for all';
    end if;
    return query
    select j.id from jobs j
    where j.erased_at is null
      and (jobs_to_erase.job_ids is null or j.id = any (jobs_to_erase.job_ids))
      and (jobs_to_erase.owner_id is null or j.owner_id = jobs_to_erase.owner_id)
      and (jobs_to_erase.before is null or j.created_at < jobs_to_erase.before)
    limit at_most;
end
$$;
comment on function loradex.jobs_to_erase(uuid[], bigint, timestamptz, int) is
    'Jobs of which texts would be erased, by id, owner and age; those that were erased are left out.';
revoke execute on function loradex.jobs_to_erase(uuid[], bigint, timestamptz, int) from public;
grant execute on function loradex.jobs_to_erase(uuid[], bigint, timestamptz, int) to loradex_admin;
