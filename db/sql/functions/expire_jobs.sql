-- Ends as expired what has no answer at its deadline, waiting or running: up to 10000 jobs, the longest overdue first.
-- claim_jobs calls it, and so does every worker while it answers a batch; what is left over ends at the next call.
-- Locks: the jobs' rows, FOR UPDATE SKIP LOCKED. Raises: LX001 another time than now.
create or replace function loradex.expire_jobs(now timestamptz default now()) returns int
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    job jobs;
    ended int := 0;
begin
    perform check_lease(interval '1 second', expire_jobs.now);
    for job in
        select j.* from jobs j
        where j.expires_at <= expire_jobs.now and j.state in ('queued', 'running')
        order by j.expires_at limit 10000
        for update skip locked
    loop
        perform end_job(job, 'expired', 'job_expired', expiry(job.deadline), expire_jobs.now);
        ended := ended + 1;
    end loop;
    return ended;
end
$$;
comment on function loradex.expire_jobs(timestamptz) is
    'Ends as expired what has no answer at its deadline; returns how many jobs that were.';
revoke execute on function loradex.expire_jobs(timestamptz) from public;
grant execute on function loradex.expire_jobs(timestamptz) to loradex_worker;
