-- The job's row, locked, if this attempt may still write for it: a worker that comes back from the dead may not, and
-- neither may whoever did not claim it.
-- Locks: the job's row, FOR UPDATE. Raises: LX003 unknown job; LX006 the attempt is no longer the job's, or the claim is
-- another's.
create or replace function loradex.fence_job(job_id uuid, attempt int, token text default null) returns loradex.jobs
language plpgsql volatile
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    mine bytea := claim_hash(token);
    job jobs;
begin
    select j.* into job from jobs j where j.id = fence_job.job_id for update;
    if not found then
        raise exception using errcode = 'LX003', message = format('no job %s', coalesce(job_id::text, 'null'));
    end if;
    if job.state <> 'running' or job.attempt is distinct from fence_job.attempt then
        raise exception using errcode = 'LX006', message = format(
            'attempt %s at job %s is over: the job is %s at attempt %s; drop this result',
            coalesce(fence_job.attempt::text, 'null'), job_id, job.state, job.attempt);
    end if;
    if job.claim_hash is distinct from mine then
        raise exception using errcode = 'LX006', message = format(
            'attempt %s at job %s was claimed by another login or with another token; drop this result',
            fence_job.attempt, job_id);
    end if;
    return job;
end
$$;
comment on function loradex.fence_job(uuid, int, text) is
    'Locks and returns a running job if the attempt is still its own, else raises LX006; internal.';
revoke execute on function loradex.fence_job(uuid, int, text) from public;
