-- Gives an API key a new secret, of which the caller tells the hash alone; the one of before is good for `keep` longer, and
-- one that a rotation kept before that is refused from now on. Owner, scopes, limits and end stay. Returns until when the
-- secret of before is good.
-- Locks: the key's row. Raises: LX001 no hash, `keep` out of its range, a key that is refused anyway, a secret that is
-- there already; LX002 no such key.
create or replace function loradex.rotate_api_key(id bigint, key_hash bytea, keep interval default '24 hours')
returns table (old_until timestamptz)
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    until constant timestamptz := now() + keep;
    found_key api_keys;
begin
    if rotate_api_key.key_hash is null or octet_length(rotate_api_key.key_hash) <> 32 then
        raise exception using errcode = 'LX001', message = 'give the SHA-256 of the new key, which has 32 bytes';
    end if;
    if keep is null or keep < interval '0' or keep > interval '365 days' then
        raise exception using errcode = 'LX001', message =
            'the key of before may be kept for 0 to 365 days; 0 refuses it at once';
    end if;
    select k.* into found_key from api_keys k where k.id = rotate_api_key.id for update;
    if not found then
        raise exception using errcode = 'LX002', message = format(
            'no key %s; see `loradex key list`', coalesce(rotate_api_key.id::text, 'null'));
    end if;
    if found_key.revoked_at is not null or found_key.expires_at <= now() then
        raise exception using errcode = 'LX001', message = format(
            'key %s was revoked or has expired; make another', found_key.id);
    end if;
    if exists (select from api_keys k where rotate_api_key.key_hash in (k.key_hash, k.old_key_hash)) then
        raise exception using errcode = 'LX001', message = 'this key is there already; make another';
    end if;
    update api_keys k
    set key_hash = rotate_api_key.key_hash, old_key_hash = found_key.key_hash, old_until = until
    where k.id = found_key.id;
    return query select until;
end
$$;
comment on function loradex.rotate_api_key(bigint, bytea, interval) is
    'Gives an API key a new secret; returns until when the one of before is good.';
revoke execute on function loradex.rotate_api_key(bigint, bytea, interval) from public;
grant execute on function loradex.rotate_api_key(bigint, bytea, interval) to loradex_admin;
