-- Leaves how an answer and its replay compare, or why it could not be replayed, for whoever asked. Nothing happens if the
-- request is gone or is another worker's.
-- Locks: the row. Raises: LX001 neither a comparison nor an error, or both; an error without a message; more than 20,000
-- characters.
create or replace function loradex.record_replay(
    replay_id uuid, worker text, told jsonb, error_code text default null, error_message text default null
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    if num_nonnulls(record_replay.told, record_replay.error_code) <> 1
       or (record_replay.error_code is null) <> (record_replay.error_message is null) then
        raise exception using errcode = 'LX001', message =
            'give a comparison, or a code and a message that say why there is none';
    end if;
    if length(record_replay.told::text) > 20000 then
        raise exception using errcode = 'LX001', message = 'a comparison has at most 20000 characters; shorten it';
    end if;
    update replays r
    set told = record_replay.told, error_code = left(record_replay.error_code, 100),
        error_message = left(record_replay.error_message, 1000)
    where r.id = replay_id and r.worker = record_replay.worker and num_nonnulls(r.told, r.error_code) = 0;
end
$$;
comment on function loradex.record_replay(uuid, text, jsonb, text, text) is
    'Leaves how an answer and its replay compare, or why it could not be replayed, for whoever asked.';
revoke execute on function loradex.record_replay(uuid, text, jsonb, text, text) from public;
grant execute on function loradex.record_replay(uuid, text, jsonb, text, text) to loradex_worker;
