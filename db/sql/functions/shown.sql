-- A text as a message may show it: quoted, and cut where it is long.
-- Locks: none. Raises: nothing.
create or replace function loradex.shown(value text) returns text
language sql immutable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select coalesce(quote_literal(left(value, 100)) || case when length(value) > 100 then '...' else '' end, 'null')
$$;
comment on function loradex.shown(text) is 'A text as a message may show it: quoted, and cut where it is long.';
revoke execute on function loradex.shown(text) from public;
grant execute on function loradex.shown(text) to loradex_reader, loradex_client, loradex_worker, loradex_admin;
