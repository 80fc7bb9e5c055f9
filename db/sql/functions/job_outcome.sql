-- How far a job is, and its answer once it has one: what whoever waits for it looks at. No row: there is no such job,
-- or it is another user's.
-- Locks: none. Raises: nothing.
create or replace function loradex.job_outcome(job_id uuid)
returns table (state text, error_code text, error_message text, answer jsonb)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    select case when a.commitments is null then j.state else 'failed' end,
           case when a.commitments is null then j.error_code else 'erased' end,
           case when a.commitments is null then j.error_message
                else format('its answer was erased; `loradex explain %s` shows what is left', a.id) end,
           case when a.id is not null and a.commitments is null then answer_document(a) end
    from jobs j left join answers a on a.id = j.answer_id
    where j.id = job_outcome.job_id;
end
$$;
comment on function loradex.job_outcome(uuid) is
    'State of a job, why it failed if it did, and its answer as a JSON document if it has one.';
revoke execute on function loradex.job_outcome(uuid) from public;
grant execute on function loradex.job_outcome(uuid) to loradex_client, loradex_admin;
