-- Nobody waits any more for vectors that ask_embeddings asked for: texts and vectors are deleted now. Whether there was
-- such a request; one that is over, or another user's, looks the same.
-- Locks: the row. Raises: nothing.
create or replace function loradex.leave_embeddings(embeddings_id uuid) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    delete from embeddings e where e.id = embeddings_id and e.owner_id = current_owner();
    return found;
end
$$;
comment on function loradex.leave_embeddings(uuid) is
    'Deletes texts whose vectors nobody waits for any more, and vectors that are there; whether there were any.';
revoke execute on function loradex.leave_embeddings(uuid) from public;
grant execute on function loradex.leave_embeddings(uuid) to loradex_client, loradex_admin;
