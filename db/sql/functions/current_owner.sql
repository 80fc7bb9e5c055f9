-- The owner that this session acts for: that of the API key it showed in this transaction (authenticate), otherwise its
-- login's; null if that never asked, or if the setting loradex.tenant has no seal of this transaction. Oid and name of a
-- login must both fit, since in a restored database the oids are another server's. Row-level security compares with it.
-- Locks: none. Raises: nothing.
create or replace function loradex.current_owner() returns bigint
language sql stable security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select case
        when coalesce(current_setting('loradex.tenant', true), '') = '' then (
            select o.id from owners o
            where o.name = session_user and o.role = (select r.oid from pg_roles r where r.rolname = session_user))
        when current_setting('loradex.tenant') = seal_tenant(
            split_part(current_setting('loradex.tenant'), ' ', 1), split_part(current_setting('loradex.tenant'), ' ', 2),
            split_part(current_setting('loradex.tenant'), ' ', 3))
            then split_part(current_setting('loradex.tenant'), ' ', 1)::bigint
    end
$$;
comment on function loradex.current_owner() is
    'The owner this session acts for: that of the API key it showed, or its login; null if it never asked.';
revoke execute on function loradex.current_owner() from public;
grant execute on function loradex.current_owner() to loradex_reader, loradex_client, loradex_worker, loradex_admin;
