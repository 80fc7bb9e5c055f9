-- Where the chain in the database begins: position of its first link, and the hash of the link before it, which the last
-- archive ends with. A note of an archive is believed only if it comes after what it says was archived. So the newest is
-- a link of the chain that is here, and whoever forges it breaks what follows.
-- Locks: none. Raises: nothing.
create or replace function loradex.chain_beginning() returns table ("position" bigint, previous_hash bytea)
language sql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select b.position, b.previous_hash
    from (
        select r.last_position + 1 as position, r.last_hash as previous_hash
        from archives r where r.position > r.last_position and r.last_position >= r.first_position
        union all
        select 1, decode(repeat('00', 32), 'hex')
    ) b
    order by 1 desc limit 1
$$;
comment on function loradex.chain_beginning() is
    'Position of the first link in the database, and the hash of the link before it; internal.';
revoke execute on function loradex.chain_beginning() from public;
grant execute on function loradex.chain_beginning() to loradex_reader, loradex_worker, loradex_admin;
