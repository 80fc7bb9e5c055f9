-- Refuses an API key from now on, for good; one that was revoked before stays as it is. Returns whether it
-- was not revoked before.
-- Locks: the key's row. Raises: LX002 no such key.
create or replace function loradex.revoke_api_key(id bigint) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    before timestamptz;
begin
    select k.revoked_at into before from api_keys k where k.id = revoke_api_key.id for update;
    if not found then
        raise exception using errcode = 'LX002', message = format(
            'no key %s; see `loradex key list`', coalesce(revoke_api_key.id::text, 'null'));
    end if;
    update api_keys k set revoked_at = now() where k.id = revoke_api_key.id and k.revoked_at is null;
    return before is null;
end
$$;
comment on function loradex.revoke_api_key(bigint) is 'Refuses an API key from now on; returns whether it was not revoked before.';
revoke execute on function loradex.revoke_api_key(bigint) from public;
grant execute on function loradex.revoke_api_key(bigint) to loradex_admin;
