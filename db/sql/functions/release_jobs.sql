-- Gives running jobs of this worker back to the queue, as a worker does when it is told to stop. The attempt number
-- stays, so that the fence holds, but the attempt does not count against the job.
-- Locks: the jobs' rows. Raises: nothing; jobs that are not this worker's are left alone.
create or replace function loradex.release_jobs(worker text, job_ids uuid[]) returns int
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    released int;
begin
    update jobs j
    set state = 'queued', lease_until = null, worker = null, started_at = null, releases = j.releases + 1
    where j.id = any (job_ids) and j.state = 'running' and j.worker = release_jobs.worker;
    get diagnostics released = row_count;
    return released;
end
$$;
comment on function loradex.release_jobs(text, uuid[]) is
    'Gives running jobs of this worker back to the queue; returns how many.';
revoke execute on function loradex.release_jobs(text, uuid[]) from public;
grant execute on function loradex.release_jobs(text, uuid[]) to loradex_worker;
