-- The newest link of the chain: an answer, or the note of an erasure or an archive. Whoever writes the next one holds chain_lock.
-- Locks: none. Raises: nothing; no row while the chain is empty.
create or replace function loradex.chain_head()
returns table ("position" bigint, id uuid, is_answer boolean, chain_hash bytea, created_at timestamptz)
language sql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select l.* from (
        (select a.position, a.id, true, a.chain_hash, a.created_at from answers a order by a.position desc limit 1)
        union all
        (select e.position, e.id, false, e.chain_hash, e.created_at from erasures e order by e.position desc limit 1)
        union all
        (select r.position, r.id, false, r.chain_hash, r.created_at from archives r order by r.position desc limit 1)
    ) l
    order by l.position desc limit 1
$$;
comment on function loradex.chain_head() is 'The newest link of the chain, an answer or a note; internal.';
revoke execute on function loradex.chain_head() from public;
grant execute on function loradex.chain_head() to loradex_reader, loradex_worker, loradex_admin;
