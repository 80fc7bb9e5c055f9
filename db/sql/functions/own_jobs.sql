-- The jobs that the login of this session handed in, newest first: a page of max_jobs, of one state, with these pairs in
-- their metadata. `after_job` is the last job of the page before. Every login sees its own, the administrator too; with an
-- API key those of the key's owner are seen. A page is read along the index of the owner's jobs, for which each call is
-- planned for its own arguments.
-- Locks: none. Raises: LX001 unknown state, metadata that is not an object of texts, max_jobs out of range; LX003
-- after_job is not a job of this login.
create or replace function loradex.own_jobs(
    only_state text default null, only_metadata jsonb default null, max_jobs int default 100, after_job uuid default null
) returns table (
    job_id uuid, state text, kind text, prompt text, metadata jsonb, priority smallint, created_at timestamptz,
    started_at timestamptz, finished_at timestamptz, error_code text, error_message text
)
language plpgsql stable security definer
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    states constant text[] := '{queued,running,done,failed,cancelled,expired}';
    asking constant bigint := current_owner();
    last_at timestamptz;
begin
    if not coalesce(only_state = any (states), true) then
        raise exception using errcode = 'LX001', message = format(
            'not a state: %s; a job is one of %s', shown(only_state), array_to_string(states, ', '));
    end if;
    if coalesce(max_jobs, 0) not between 1 and 1000 then
        raise exception using errcode = 'LX001', message = 'max_jobs must be from 1 to 1000';
    end if;
    perform check_settings(json_build_array(json_build_object('metadata', only_metadata)));
    if after_job is not null then
        select j.created_at into last_at from jobs j where j.id = after_job and j.owner_id = asking;
        if not found then
            raise exception using errcode = 'LX003', message = format(
                'no job %s to go on after, or it is another user''s; begin anew without it', after_job);
        end if;
    end if;
    return query
    select j.id, j.state, j.kind, j.prompt, coalesce(j.metadata, '{}'), j.priority, j.created_at, j.started_at,
           j.finished_at, j.error_code, j.error_message
    from jobs j
    where j.owner_id = asking
      and (only_state is null or j.state = only_state)
      and (only_metadata is null or j.metadata @> only_metadata)
      and (after_job is null or (j.created_at, j.id) < (last_at, after_job))
    order by j.created_at desc, j.id desc
    limit max_jobs;
end
$$;
comment on function loradex.own_jobs(text, jsonb, int, uuid) is
    'A page of the jobs this login handed in, newest first, of one state and with these pairs in their metadata.';
revoke execute on function loradex.own_jobs(text, jsonb, int, uuid) from public;
grant execute on function loradex.own_jobs(text, jsonb, int, uuid) to loradex_client, loradex_admin;
