-- How far a job is, and its answer once it has one: what whoever waits for it looks at. No row: there is no such job,
-- or it is another user's. A waiting job that is past its deadline is shown as expired even before that is written.
-- Locks: none. Raises: nothing.
create or replace function loradex.job_outcome(job_id uuid)
returns table (state text, error_code text, error_message text, answer jsonb)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    select case when a.commitments is not null then 'failed' when late.past then 'expired' else j.state end,
           case when a.commitments is not null then 'erased' when late.past then 'job_expired' else j.error_code end,
           case when a.commitments is not null
                    then format('its answer was erased; `loradex explain %s` shows what is left', a.id)
                when late.past then expiry(j.deadline)
                else j.error_message end,
           case when a.id is not null and a.commitments is null then answer_document(a) end
    from jobs j
    left join answers a on a.id = j.answer_id
    cross join lateral (select coalesce(j.state = 'queued' and j.expires_at <= now(), false)) late(past)
    where j.id = job_outcome.job_id;
end
$$;
comment on function loradex.job_outcome(uuid) is
    'State of a job, why it ended without an answer if it did, and its answer as a JSON document if it has one.';
revoke execute on function loradex.job_outcome(uuid) from public;
grant execute on function loradex.job_outcome(uuid) to loradex_client, loradex_admin;
