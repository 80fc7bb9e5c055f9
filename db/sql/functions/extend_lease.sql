-- Prolongs the lease of running jobs that are still this worker's.
-- Locks: the jobs' rows. Raises: LX001 no lease.
create or replace function loradex.extend_lease(
    worker text, job_ids uuid[], lease interval, now timestamptz default now()
) returns int
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    extended int;
begin
    perform check_lease(lease, extend_lease.now);
    update jobs j set lease_until = extend_lease.now + lease
    where j.id = any (job_ids) and j.state = 'running' and j.worker = extend_lease.worker;
    get diagnostics extended = row_count;
    return extended;
end
$$;
comment on function loradex.extend_lease(text, uuid[], interval, timestamptz) is
    'Prolongs the lease of running jobs that are still this worker''s; returns how many.';
revoke execute on function loradex.extend_lease(text, uuid[], interval, timestamptz) from public;
grant execute on function loradex.extend_lease(text, uuid[], interval, timestamptz) to loradex_worker;
