-- The text that the hash of a note of an archive covers: every column but the hash itself, as JSON with sorted keys.
-- Locks: none. Raises: nothing.
create or replace function loradex.archive_canonical(archive loradex.archives) returns text
language plpgsql stable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set bytea_output = 'hex'
as $$
begin
    return (to_jsonb(archive) - 'chain_hash')::text;
end
$$;
comment on function loradex.archive_canonical(loradex.archives) is
    'The text the chain hash of a note of an archive covers: every column but the hash itself.';
revoke execute on function loradex.archive_canonical(loradex.archives) from public;
grant execute on function loradex.archive_canonical(loradex.archives)
    to loradex_reader, loradex_worker, loradex_admin;
