-- How an answer and its replay compare, or why it could not be replayed; it can be taken once. No rows: it is not there
-- yet, or the request is over or another user's, which looks the same.
-- Locks: the row. Raises: nothing.
create or replace function loradex.take_replay(replay_id uuid)
returns table (told jsonb, error_code text, error_message text)
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    delete from replays r
    where r.id = replay_id and r.owner_id = current_owner() and num_nonnulls(r.told, r.error_code) = 1
    returning r.told, r.error_code, r.error_message;
end
$$;
comment on function loradex.take_replay(uuid) is
    'How an answer and its replay compare, as ask_replay asked; it can be taken once.';
revoke execute on function loradex.take_replay(uuid) from public;
grant execute on function loradex.take_replay(uuid) to loradex_client, loradex_admin;
