-- Gives a replay back that this worker took and does not go on with, since it ends: another may take it at once, and it
-- does not count as lost. Nothing happens if the request is gone, is over or is another worker's.
-- Locks: the row. Raises: nothing.
create or replace function loradex.release_replay(replay_id uuid, worker text) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    update replays r set worker = null, claims = r.claims - 1, claimed_at = null
    where r.id = replay_id and r.worker = release_replay.worker and num_nonnulls(r.told, r.error_code) = 0;
    if found then
        perform notify_workers();
    end if;
end
$$;
comment on function loradex.release_replay(uuid, text) is
    'Gives a replay back that its worker does not go on with; another may take it at once.';
revoke execute on function loradex.release_replay(uuid, text) from public;
grant execute on function loradex.release_replay(uuid, text) to loradex_worker;
