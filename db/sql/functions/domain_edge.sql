-- in_domain_similarity with what it takes for granted, for clients, who see no vectors: one number about the library. A
-- question less similar to everything than this is out of its domain; null: there are fewer than two examples, so that it
-- is not known.
-- Locks: none. Raises: LX002 unknown encoder.
create or replace function loradex.domain_edge(encoder text) returns table (similarity float8)
language sql stable security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select in_domain_similarity(domain_edge.encoder)
$$;
comment on function loradex.domain_edge(text) is
    'How similar a question must be to the nearest example to be in the library''s domain.';
revoke execute on function loradex.domain_edge(text) from public;
grant execute on function loradex.domain_edge(text) to loradex_client;
