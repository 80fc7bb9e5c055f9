-- The oldest texts that wait for this encoder and nobody reads; a worker that does not come back with them within two
-- minutes loses them to another. No rows: none wait. What nobody took within ten minutes is deleted on the way.
-- Locks: the rows. Raises: nothing.
create or replace function loradex.claim_embeddings(encoder text) returns table (id uuid, texts text[])
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    delete from embeddings e where e.id in (
        select o.id from embeddings o where o.created_at < now() - interval '10 minutes' for update skip locked);
    return query
    update embeddings e set claimed_at = now()
    where e.id = (
        select w.id from embeddings w
        where w.encoder = claim_embeddings.encoder and w.texts is not null
          and coalesce(w.claimed_at < now() - interval '2 minutes', true)
        order by w.created_at limit 1 for update skip locked)
    returning e.id, e.texts;
end
$$;
comment on function loradex.claim_embeddings(text) is 'The oldest texts that wait for their vectors, for a worker.';
revoke execute on function loradex.claim_embeddings(text) from public;
grant execute on function loradex.claim_embeddings(text) to loradex_worker;
