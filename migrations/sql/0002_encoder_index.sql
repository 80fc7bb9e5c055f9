-- The name of an encoder's index on example_embeddings.
-- Locks: none. Raises: nothing.
create or replace function loradex.encoder_index(encoder text) returns text
language sql immutable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select 'example_embeddings_hnsw_' || left(regexp_replace(lower(encoder), '[^a-z0-9]+', '_', 'g'), 24)
           || '_' || left(md5(encoder), 8)
$$;
comment on function loradex.encoder_index(text) is 'Name of an encoder''s index on example_embeddings.';
revoke execute on function loradex.encoder_index(text) from public;
grant execute on function loradex.encoder_index(text)
    to loradex_reader, loradex_worker, loradex_admin;
