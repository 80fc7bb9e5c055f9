-- For the rest of this transaction the session acts for the owner of an API key: current_owner() is that owner, so
-- row-level security shows its jobs and answers alone. How a server with one login serves many tenants without being
-- able to read what none of their keys was shown for. Returns the key's id. That it was used is noted once a minute.
-- After a rotation the key of before is good for a while too.
-- A login that sees more than its own is refused, since for it row-level security would hide nothing.
-- Locks: the key's row once a minute, if nobody else has it. Raises: LX011 no such key, or it was revoked or has expired;
-- 42501 the key may not do that, or the login is not one of loradex_client alone.
create or replace function loradex.authenticate(key text, scope text default 'read') returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    shown_hash constant bytea := sha256(convert_to(authenticate.key, 'UTF8'));
    found_key api_keys;
begin
    if not pg_has_role(session_user, 'loradex_client', 'member')
       or pg_has_role(session_user, (select n.nspowner from pg_namespace n where n.nspname = 'loradex'), 'member')
       or exists (select from unnest(array['loradex_reader', 'loradex_worker', 'loradex_admin']) more(role)
                  where pg_has_role(session_user, more.role, 'member')) then
        raise exception using errcode = '42501', message = format(
            'the login %s sees more than its own, so it may not act for the owners of keys', session_user),
            hint = 'use a login of the role client: loradex db login NAME --role client';
    end if;
    select k.* into found_key from api_keys k
    where k.key_hash = shown_hash and k.revoked_at is null and coalesce(k.expires_at > now(), true);
    if not found then
        select k.* into found_key from api_keys k
        where k.old_key_hash = shown_hash and k.old_until > now() and k.revoked_at is null
          and coalesce(k.expires_at > now(), true);
    end if;
    if not found then
        raise exception using errcode = 'LX011', message =
            'no such key, or it was revoked or has expired; ask your administrator for one';
    end if;
    if scope is distinct from 'read' and not coalesce(scope = any (found_key.scopes), false) then
        raise exception using errcode = '42501', message = format(
            'this key may %s, not %s', array_to_string(found_key.scopes, ', '), shown(scope));
    end if;
    if coalesce(found_key.last_used_at < now() - interval '1 minute', true) then
        update api_keys k set last_used_at = now()
        where k.id = (select o.id from api_keys o where o.id = found_key.id for update skip locked);
    end if;
    perform set_config(
        'loradex.tenant', seal_tenant(
            found_key.owner_id::text, array_to_string(found_key.scopes, ','), found_key.id::text), true);
    return found_key.id;
end
$$;
comment on function loradex.authenticate(text, text) is
    'For the rest of this transaction the session acts for the owner of this API key; returns the key''s id.';
revoke execute on function loradex.authenticate(text, text) from public;
grant execute on function loradex.authenticate(text, text) to loradex_client;
