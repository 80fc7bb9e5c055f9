-- What was asked for, without id, trace, state and times, and whether its text is told meanwhile: two jobs are the same
-- request if this is equal.
-- Locks: none. Raises: nothing.
create or replace function loradex.job_request(job loradex.jobs) returns jsonb
language sql immutable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select (to_jsonb(job) #- '{settings,stream}') - array[
        'id', 'api_key_id', 'asked', 'traceparent', 'pieces_key', 'queue_position', 'turn', 'state', 'attempt', 'releases',
        'lease_until', 'worker', 'claim_hash', 'held_seconds',
        'error_code', 'error_message', 'cancelled_by', 'created_at', 'started_at', 'finished_at', 'expires_at',
        'answer_id', 'erased_at']
$$;
comment on function loradex.job_request(loradex.jobs) is 'What a job asks for, as JSON, without its fate.';
revoke execute on function loradex.job_request(loradex.jobs) from public;
grant execute on function loradex.job_request(loradex.jobs)
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;
