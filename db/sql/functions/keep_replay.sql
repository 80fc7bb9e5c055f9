-- A sign of life of the worker that replays an answer. Whether it is to go on: false if nobody waits for it any more, or
-- another worker has it.
-- Locks: the row. Raises: nothing.
create or replace function loradex.keep_replay(replay_id uuid, worker text) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    update replays r set claimed_at = now()
    where r.id = replay_id and r.worker = keep_replay.worker and num_nonnulls(r.told, r.error_code) = 0
      and r.created_at >= now() - interval '10 minutes';
    return found;
end
$$;
comment on function loradex.keep_replay(uuid, text) is
    'A sign of life of the worker that replays an answer; whether it is to go on.';
revoke execute on function loradex.keep_replay(uuid, text) from public;
grant execute on function loradex.keep_replay(uuid, text) to loradex_worker;
