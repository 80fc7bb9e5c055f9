-- cancel_jobs for one job; returns the state it is in now.
-- Locks: the job's row. Raises: LX003 no such job, or another user's.
create or replace function loradex.cancel_job(job_id uuid) returns text
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    return (select c.state from cancel_jobs(array[cancel_job.job_id]) c);
end
$$;
comment on function loradex.cancel_job(uuid) is
    'Ends a job that has no answer yet as cancelled; returns the state it is in now.';
revoke execute on function loradex.cancel_job(uuid) from public;
grant execute on function loradex.cancel_job(uuid) to loradex_client, loradex_admin;
