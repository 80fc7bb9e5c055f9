-- Ends jobs that have no answer yet as cancelled, at their owner's wish or an administrator's: those that wait at once,
-- those that run too, and their worker drops them at its next token. A job that has ended stays as it is. Returns the
-- state that each job is in now; all of them or none.
-- Locks: the jobs' rows, in the order of their ids; it waits for an answer that is being recorded.
-- Raises: LX001 no ids, or too many; LX003 no such job, or another user's; LX011 and 42501 the API key may not ask.
create or replace function loradex.cancel_jobs(job_ids uuid[]) returns table (job_id uuid, state text)
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    most int := (select s.value from settings s where s.name = 'max_jobs_per_call');
    is_admin boolean := pg_has_role(session_user, 'loradex_admin', 'member');
    asking bigint := current_owner();
    asker text := coalesce((select o.name from owners o where o.id = asking), session_user);
    stranger uuid;
    job jobs;
begin
    perform check_scope('ask');
    if job_ids is null or cardinality(job_ids) > most then
        raise exception using errcode = 'LX001', message = format('give an array of at most %s ids', most);
    end if;
    select given.id into stranger from unnest(job_ids) given(id)
    where not exists (select from jobs j where j.id = given.id and (is_admin or j.owner_id = asking)) limit 1;
    if found then
        raise exception using errcode = 'LX003', message = format(
            'no job %s, or it is another user''s', coalesce(stranger::text, 'null'));
    end if;
    for job in select j.* from jobs j where j.id = any (job_ids) order by j.id for update loop
        if job.state in ('queued', 'running') then
            perform end_job(
                job, 'cancelled', 'job_cancelled',
                format('%s cancelled it while it was %s', asker, job.state), now(), asker);
        end if;
    end loop;
    return query select j.id, j.state from jobs j where j.id = any (job_ids);
end
$$;
comment on function loradex.cancel_jobs(uuid[]) is
    'Ends jobs that have no answer yet as cancelled; returns the state each is in now.';
revoke execute on function loradex.cancel_jobs(uuid[]) from public;
grant execute on function loradex.cancel_jobs(uuid[]) to loradex_client, loradex_admin;
