-- The name of the function that searches an encoder's vectors.
-- Locks: none. Raises: nothing.
create or replace function loradex.encoder_search(encoder text) returns text
language sql immutable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select 'search_by_' || left(regexp_replace(lower(encoder), '[^a-z0-9]+', '_', 'g'), 40)
           || '_' || left(md5(encoder), 8)
$$;
comment on function loradex.encoder_search(text) is 'Name of the function that searches an encoder''s vectors.';
revoke execute on function loradex.encoder_search(text) from public;
grant execute on function loradex.encoder_search(text) to loradex_reader, loradex_worker, loradex_admin;
