-- Ends a job without an answer: as failed, cancelled or expired. Whoever waits for it is told (channel loradex_jobs), and
-- if it runs, the worker that has it in hand too (loradex_stop), whatever it ends as: a worker that lost it or whose
-- question was erased may still compute it.
-- Locks: the job's row, which its callers have locked before. Raises: nothing.
create or replace function loradex.end_job(
    job loradex.jobs, state text, code text, message text, now timestamptz, cancelled_by text default null
) returns void
language plpgsql volatile
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    update jobs j
    set state = end_job.state, lease_until = null, finished_at = end_job.now, error_code = code,
        error_message = left(message, 10000), cancelled_by = end_job.cancelled_by
    where j.id = job.id;
    delete from routings r where r.job_id = job.id;
    perform notify_job(job.id);
    if job.state = 'running' then
        perform notify_job(job.id, 'loradex_stop');
    end if;
end
$$;
comment on function loradex.end_job(loradex.jobs, text, text, text, timestamptz, text) is
    'Ends a job without an answer and tells who waits for it and who computes it; internal.';
revoke execute on function loradex.end_job(loradex.jobs, text, text, text, timestamptz, text) from public;
