-- The text that the hash of a note of an erasure covers: every column but the hash itself, as JSON with sorted keys.
-- Locks: none. Raises: nothing.
create or replace function loradex.erasure_canonical(erasure loradex.erasures) returns text
language plpgsql stable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set bytea_output = 'hex'
as $$
begin
    return (to_jsonb(erasure) - 'chain_hash')::text;
end
$$;
comment on function loradex.erasure_canonical(loradex.erasures) is
    'The text the chain hash of a note of an erasure covers: every column but the hash itself.';
revoke execute on function loradex.erasure_canonical(loradex.erasures) from public;
grant execute on function loradex.erasure_canonical(loradex.erasures)
    to loradex_reader, loradex_worker, loradex_admin;
