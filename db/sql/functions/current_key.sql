-- The API key that this session showed in this transaction (authenticate); null without one, or without a good seal.
-- Locks: none. Raises: nothing.
create or replace function loradex.current_key() returns bigint
language sql stable security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select case when coalesce(current_setting('loradex.tenant', true), '') <> '' and current_owner() is not null
        then split_part(current_setting('loradex.tenant'), ' ', 3)::bigint end
$$;
comment on function loradex.current_key() is 'The API key this session showed in this transaction; internal.';
revoke execute on function loradex.current_key() from public;
