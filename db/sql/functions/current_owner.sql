-- The owner that the login of this session is; null if it never asked. Oid and name must both fit, since in a restored
-- database the oids are another server's. Row-level security compares with it.
-- Locks: none. Raises: nothing.
create or replace function loradex.current_owner() returns bigint
language sql stable security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select o.id from owners o
    where o.name = session_user and o.role = (select r.oid from pg_roles r where r.rolname = session_user)
$$;
comment on function loradex.current_owner() is 'The owner that the login of this session is; null if it never asked.';
revoke execute on function loradex.current_owner() from public;
grant execute on function loradex.current_owner() to loradex_reader, loradex_client, loradex_worker, loradex_admin;
