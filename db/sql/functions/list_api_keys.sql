-- Every API key without its hash, oldest first, those that were revoked or have expired too.
-- Locks: none. Raises: nothing.
create or replace function loradex.list_api_keys() returns table (
    id bigint, owner text, name text, scopes text[], state text, created_at timestamptz, created_by text,
    expires_at timestamptz, revoked_at timestamptz, last_used_at timestamptz, old_until timestamptz,
    requests_a_minute int, max_waiting int
)
language sql stable security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select k.id, o.name, k.name, k.scopes,
           case when k.revoked_at is not null then 'revoked' when k.expires_at <= now() then 'expired' else 'good' end,
           k.created_at, k.created_by, k.expires_at, k.revoked_at, k.last_used_at,
           case when k.old_until > now() then k.old_until end, k.requests_a_minute, k.max_waiting
    from api_keys k join owners o on o.id = k.owner_id
    order by k.id
$$;
comment on function loradex.list_api_keys() is 'Every API key without its hash, and whether it is good.';
revoke execute on function loradex.list_api_keys() from public;
grant execute on function loradex.list_api_keys() to loradex_admin;
