-- Ends a claimed job as failed, with the reason.
-- Locks: the job's row. Raises: LX003 unknown job; LX006 the attempt is no longer the job's; LX001 no code.
create or replace function loradex.fail_job(
    job_id uuid, attempt int, code text, message text, now timestamptz default now()
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    if coalesce(code, '') !~ '^[a-z0-9_]{1,100}$' then
        raise exception using errcode = 'LX001', message =
            'a failed job needs an error code of small letters, digits and _; name the reason';
    end if;
    perform check_lease(interval '1 second', fail_job.now);
    perform fence_job(job_id, attempt);
    update jobs j
    set state = 'failed', lease_until = null, finished_at = fail_job.now, error_code = code,
        error_message = left(coalesce(message, 'no reason recorded'), 10000)
    where j.id = job_id;
    delete from routings r where r.job_id = fail_job.job_id;
    perform notify_job(job_id);
end
$$;
comment on function loradex.fail_job(uuid, int, text, text, timestamptz) is
    'Ends a claimed job as failed and notifies loradex_jobs; refused with LX006 if the attempt is over.';
revoke execute on function loradex.fail_job(uuid, int, text, text, timestamptz) from public;
grant execute on function loradex.fail_job(uuid, int, text, text, timestamptz) to loradex_worker;
