-- The vectors that ask_embeddings asked for, in the order of the texts, or why there are none; they can be taken once. No
-- rows: they are not there yet, or the request is over or another user's, which looks the same.
-- Locks: the row. Raises: nothing.
create or replace function loradex.take_embeddings(embeddings_id uuid)
returns table (encoder text, vectors public.vector[], tokens int, refusal text)
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    delete from embeddings e
    where e.id = embeddings_id and e.owner_id = current_owner() and e.texts is null
    returning e.encoder, e.vectors, e.tokens, e.refusal;
end
$$;
comment on function loradex.take_embeddings(uuid) is 'The vectors that ask_embeddings asked for; they can be taken once.';
revoke execute on function loradex.take_embeddings(uuid) from public;
grant execute on function loradex.take_embeddings(uuid) to loradex_client, loradex_admin;
