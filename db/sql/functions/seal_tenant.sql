-- An owner, what may be done for it, and the key that was shown, as this transaction's setting loradex.tenant holds them: with a seal (HMAC-SHA-256
-- of them, the session and the transaction's start) that only the owner of the schema can make. Any session may set the
-- setting, and none can make a seal, nor use one in another transaction than its own.
-- Locks: none. Raises: nothing.
create or replace function loradex.seal_tenant(owner text, scopes text, key text) returns text
language sql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select format('%s %s %s %s', owner, scopes, key, encode(sha256(outer_key || sha256(inner_key || convert_to(
        format('%s %s %s %s %s', owner, scopes, key, pg_backend_pid(), extract(epoch from transaction_timestamp())), 'UTF8'))), 'hex'))
    from tenant_secret
$$;
comment on function loradex.seal_tenant(text, text, text) is
    'An owner, scopes and a key with the seal of this transaction, as loradex.tenant holds them; internal.';
revoke execute on function loradex.seal_tenant(text, text, text) from public;
