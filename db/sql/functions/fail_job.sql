-- Ends a claimed job as failed, with the reason.
-- Locks: the job's row. Raises: LX003 unknown job; LX006 the attempt is no longer the job's, or the claim is another's;
-- LX001 no code.
create or replace function loradex.fail_job(
    job_id uuid, attempt int, code text, message text, now timestamptz default now(), token text default null
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
    perform end_job(
        fence_job(job_id, attempt, token), 'failed', code, coalesce(message, 'no reason recorded'), fail_job.now);
end
$$;
comment on function loradex.fail_job(uuid, int, text, text, timestamptz, text) is
    'Ends a claimed job as failed and notifies loradex_jobs; refused with LX006 if the attempt is over.';
revoke execute on function loradex.fail_job(uuid, int, text, text, timestamptz, text) from public;
grant execute on function loradex.fail_job(uuid, int, text, text, timestamptz, text) to loradex_worker;
