-- The last answer of the chain, to be kept elsewhere: whoever cuts off the tail cannot make this hash appear again.
-- Locks: none. Raises: nothing; no rows while there are no answers.
create or replace function loradex.audit_head()
returns table ("position" bigint, answer_id uuid, chain_hash text, created_at timestamptz)
language sql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select a.position, a.id, encode(a.chain_hash, 'hex'), a.created_at
    from answers a order by a.position desc limit 1
$$;
comment on function loradex.audit_head() is
    'Position, id and hash (hex) of the last answer: keep them elsewhere to notice a cut tail.';
revoke execute on function loradex.audit_head() from public;
grant execute on function loradex.audit_head() to loradex_reader, loradex_worker, loradex_admin;
