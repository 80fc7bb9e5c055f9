-- Ends a job as failed because workers lost it too often (code too_many_attempts) or held it for too long (held_too_long).
-- Locks: the job's row, which its callers have locked before. Raises: nothing.
create or replace function loradex.give_up_job(
    job loradex.jobs, code text, worker text, held float8, now timestamptz
) returns void
language plpgsql volatile
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    perform end_job(
        job, 'failed', code,
        case code
            when 'held_too_long' then format(
                'workers held it for %s s altogether without an answer (setting max_held_seconds)', round(held))
            else format('it was lost %s times by its workers', job.attempt - job.releases)
        end || format(', the last of them %s; look at that worker''s log, then enqueue it again', worker),
        give_up_job.now);
end
$$;
comment on function loradex.give_up_job(loradex.jobs, text, text, float8, timestamptz) is
    'Ends a job as failed that workers lost too often or held for too long; internal.';
revoke execute on function loradex.give_up_job(loradex.jobs, text, text, float8, timestamptz) from public;
