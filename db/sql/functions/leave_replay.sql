-- Nobody waits any more for a replay that ask_replay asked for: the request is deleted now, and the worker that computes it
-- lets it go. Whether there was such a request; one that is over, or another user's, looks the same.
-- Locks: the row. Raises: nothing.
create or replace function loradex.leave_replay(replay_id uuid) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    delete from replays r where r.id = replay_id and r.owner_id = current_owner();
    return found;
end
$$;
comment on function loradex.leave_replay(uuid) is 'Deletes a request for a replay that nobody waits for; whether there was one.';
revoke execute on function loradex.leave_replay(uuid) from public;
grant execute on function loradex.leave_replay(uuid) to loradex_client, loradex_admin;
