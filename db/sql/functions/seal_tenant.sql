-- An owner, what may be done for it, and the key that was shown, as this transaction's setting loradex.tenant holds them: with a seal (HMAC-SHA-256
-- of them, the session and the transaction's start) that only the owner of the schema can make. Any session may set the
-- setting, and none can make a seal, nor use one in another transaction than its own.
-- Locks: none. Raises: nothing.
create or replace function loradex.seal_tenant(owner text, scopes text, key text) returns text
language sql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    with secret as (
        -- A key of HMAC is filled up to a block of 64 bytes.
        select secret || decode(repeat('00', 64 - octet_length(secret)), 'hex') as block from tenant_secret
    ), pads as (
        select decode(string_agg(lpad(to_hex(get_byte(block, i) # 54), 2, '0'), '' order by i), 'hex') as inner_pad,
               decode(string_agg(lpad(to_hex(get_byte(block, i) # 92), 2, '0'), '' order by i), 'hex') as outer_pad
        from secret cross join generate_series(0, 63) i
    )
    select format('%s %s %s %s', owner, scopes, key, encode(sha256(outer_pad || sha256(inner_pad || convert_to(
        format('%s %s %s %s %s', owner, scopes, key, pg_backend_pid(), extract(epoch from transaction_timestamp())), 'UTF8'))), 'hex'))
    from pads
$$;
comment on function loradex.seal_tenant(text, text, text) is
    'An owner, scopes and a key with the seal of this transaction, as loradex.tenant holds them; internal.';
revoke execute on function loradex.seal_tenant(text, text, text) from public;
