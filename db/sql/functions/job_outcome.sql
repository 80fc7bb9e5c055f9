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
    select j.state, j.error_code, j.error_message, case when a.id is not null then answer_document(a) end
    from jobs j left join answers a on a.id = j.answer_id
    where j.id = job_outcome.job_id;
end
$$;
comment on function loradex.job_outcome(uuid) is
    'State of a job, why it failed if it did, and its answer as a JSON document if it has one.';
revoke execute on function loradex.job_outcome(uuid) from public;
grant execute on function loradex.job_outcome(uuid) to loradex_client, loradex_admin;
