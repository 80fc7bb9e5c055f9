-- The newest link of the chain, to be kept elsewhere: whoever cuts off the tail cannot make this hash appear again.
-- Locks: none. Raises: nothing; no rows while the chain is empty.
create or replace function loradex.audit_head()
returns table ("position" bigint, answer_id uuid, chain_hash text, created_at timestamptz)
language sql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select h.position, case when h.is_answer then h.id end, encode(h.chain_hash, 'hex'), h.created_at
    from chain_head() h
$$;
comment on function loradex.audit_head() is
    'Position and hash (hex) of the newest link, and its answer, if it is no note: keep them elsewhere.';
revoke execute on function loradex.audit_head() from public;
grant execute on function loradex.audit_head() to loradex_reader, loradex_worker, loradex_admin;
