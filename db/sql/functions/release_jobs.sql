-- Gives running jobs of this worker back to the queue, as a worker does when it is told to stop. The attempt number
-- stays, so that the fence holds, but the attempt does not count against the job. The time it was held does: a job that
-- workers have held for max_held_seconds altogether ends as failed. With ring, workers that have room take them at once;
-- without, at their next look: for what is refused to any worker, and would go round and round.
-- Locks: the jobs' rows. Raises: LX001 a token that is too short; jobs that are not this worker's are left alone.
create or replace function loradex.release_jobs(
    worker text, job_ids uuid[], token text default null, ring boolean default true
) returns int
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    mine bytea := claim_hash(token);
    max_held int := (select s.value from settings s where s.name = 'max_held_seconds');
    job jobs;
    released int := 0;
begin
    for job in
        update jobs j
        set state = 'queued', lease_until = null, worker = null, started_at = null, releases = j.releases + 1,
            held_seconds = held_seconds(j, now())
        where j.id = any (job_ids) and j.state = 'running' and j.worker = release_jobs.worker and j.claim_hash = mine
        returning j.*
    loop
        released := released + 1;
        if job.held_seconds >= max_held then
            perform give_up_job(job, 'held_too_long', worker, job.held_seconds, now());
        end if;
    end loop;
    if ring and released > 0 then
        perform notify_workers();
    end if;
    return released;
end
$$;
comment on function loradex.release_jobs(text, uuid[], text, boolean) is
    'Gives running jobs of this worker back to the queue; returns how many.';
revoke execute on function loradex.release_jobs(text, uuid[], text, boolean) from public;
grant execute on function loradex.release_jobs(text, uuid[], text, boolean) to loradex_worker;
